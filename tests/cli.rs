//! Goldens of the command line that need no engine: data files in `tests/cmd`.
//! `TRYCMD=overwrite cargo test --test cli` writes them again; read the difference.

#[test]
fn goldens() {
    trycmd::TestCases::new()
        .env("KESTACK_DIR", "/nonexistent/kestack")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.toml")
        .case("tests/cmd/*.trycmd");
}
