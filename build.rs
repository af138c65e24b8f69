//! Links a release of `kestack` for size, as the build script of kes-server links `kes`: it says why.
#![expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts through the environment")]

use std::path::Path;
use std::{env, fs, io};

/// The sections that the linker leaves out.
const SCRIPT: &str = "without-unwinding.ld";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SCRIPT}");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if !is_release || env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "linux") {
        return Ok(());
    }
    let script = Path::new(&env::var("OUT_DIR").unwrap_or_default()).join(SCRIPT);
    fs::copy(SCRIPT, &script)?;
    // Cargo forgets to strip a package with settings of its own
    for argument in ["--strip-all", "-z,pack-relative-relocs", "--no-eh-frame-hdr", &format!("-T,{}", script.display())]
    {
        println!("cargo::rustc-link-arg-bin=kestack=-Wl,{argument}");
    }
    Ok(())
}
