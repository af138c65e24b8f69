# What CI runs, one by one; `just check` before a commit.

# format, lints, documentation, supply chain, unit tests
check:
    tests/run lint unit

# everything
test:
    tests/run

# one tier of those that tests/README.md lists
tier name:
    tests/run {{ name }}

# known vulnerabilities; needs the advisory database, and records that it was asked
audit:
    tests/audit

# fails if Cargo.lock has changed since the last audit
audited:
    tests/audit --check

# all files of a release, in `target/dist`, and everything that is tested of them
release:
    tests/run release-complete

# one fuzz target for so many seconds; without a name all of them, one after the other
fuzz target="all" seconds="600":
    kes-server/fuzz/run {{ target }} {{ seconds }}

# what tests do not notice in keys and access
mutants:
    cargo mutants --package kes-server --file 'kes-server/src/crypto/**' --file 'kes-server/src/auth/**'

# every verb on every engine, and the scripted procedure
bench:
    cargo build --release --workspace --bins
    examples/bench-up
