//! Links `kes` for size.
#![expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts through the environment")]

use std::path::Path;
use std::{env, fs, io};

/// The sections that the linker leaves out.
const SCRIPT: &str = "without-unwinding.ld";

/// On Linux one program holds everything, and a panic ends a release: the tables for unwinding are a sixteenth of it.
/// Half as much are relocations of a static program that may lie anywhere. A bitmap says the same; glibc applies it from
/// 2.36 on, and linkers that cannot write it do not.
fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SCRIPT}");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") {
        // next to what is built: that may be kept for a checkout that lies elsewhere
        let script = Path::new(&env::var("OUT_DIR").unwrap_or_default()).join(SCRIPT);
        fs::copy(SCRIPT, &script)?;
        for argument in ["-z,pack-relative-relocs", "--no-eh-frame-hdr", &format!("-T,{}", script.display())] {
            println!("cargo::rustc-link-arg-bin=kes=-Wl,{argument}");
        }
    }
    Ok(())
}
