//! Every file of the fuzz corpora through the check of its target.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::checks::TARGETS;

fn fuzz() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn every_input_of_the_corpora_passes_its_check() {
    for (name, check) in TARGETS {
        check(b"");
        let folder = fs::read_dir(fuzz().join("corpus").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut inputs = 0;
        for file in folder {
            let path = file.unwrap().path();
            let outcome = std::panic::catch_unwind(|| check(&fs::read(&path).unwrap()));
            assert!(outcome.is_ok(), "{}", path.display());
            inputs += 1;
        }
        assert!(inputs >= 10, "{name} has {inputs} inputs");
    }
}

#[test]
fn every_check_has_its_program() {
    let programs = fs::read_dir(fuzz().join("fuzz_targets")).unwrap();
    let mut programs: Vec<_> = programs.map(|file| file.unwrap().file_name()).collect();
    programs.sort();
    assert_eq!(programs, TARGETS.map(|(name, _)| OsString::from(format!("{name}.rs"))));
}
