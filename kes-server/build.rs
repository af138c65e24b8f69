//! Links `kes` for size.
#![expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts through the environment")]

use std::env;

/// On Linux one program holds everything, and a panic ends a release: the tables for unwinding are a sixteenth of it.
/// Half as much are relocations of a static program that may lie anywhere. A bitmap says the same; glibc applies it from
/// 2.36 on, and linkers that cannot write it do not.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=without-unwinding.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        for argument in ["-z,pack-relative-relocs", "--no-eh-frame-hdr", &format!("-T,{folder}/without-unwinding.ld")] {
            println!("cargo::rustc-link-arg-bin=kes=-Wl,{argument}");
        }
    }
}
