# What CI runs, one by one; `just check` before a commit.

# format, lints, documentation, supply chain, unit tests
check:
    tests/run lint unit

# everything
test:
    tests/run

# one tier: lint, unit, e2e, docker, sdk, docs
tier name:
    tests/run {{ name }}

# known vulnerabilities; needs the advisory database
audit:
    cargo deny check advisories

# up, reset, down against the scripted procedure
bench:
    cargo build --release --workspace --bins
    examples/bench-up
