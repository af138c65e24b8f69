//! Says which commit and target `kes` is built from, and links it for size.
#![expect(clippy::disallowed_methods, reason = "Cargo speaks to build scripts through the environment")]

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

/// The sections that the linker leaves out.
const SCRIPT: &str = "without-unwinding.ld";

/// What `cargo package` writes into a packed crate.
const PACKED: &str = ".cargo_vcs_info.json";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=KES_COMMIT");
    println!("cargo::rustc-env=KES_TARGET={}", env::var("TARGET").unwrap_or_default());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if let Some(commit) = named().or_else(packed).or_else(|| is_release.then(checked_out)?) {
        println!("cargo::rustc-env=KES_COMMIT={commit}");
    }
    if is_release && env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") { link() } else { Ok(()) }
}

/// The commit that whoever builds names.
fn named() -> Option<String> {
    env::var("KES_COMMIT").ok().filter(|commit| !commit.is_empty())
}

/// The commit that a packed crate was made from.
fn packed() -> Option<String> {
    let text = fs::read_to_string(PACKED).ok()?;
    println!("cargo::rerun-if-changed={PACKED}");
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit of this checkout, `-dirty` if files of it differ. Of a folder that lies in another project's repository
/// nothing is known. Only a release asks: a build for tests must not start again after every commit.
fn checked_out() -> Option<String> {
    if git(&["rev-parse", "--show-prefix"])? != "kes-server/" {
        return None;
    }
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", file])?);
    }
    for files in ["src", "../src", "../templates", "../Cargo.toml", "../Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={files}");
    }
    git(&["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// On Linux one program holds everything, and a panic ends a release: the tables for unwinding are a sixteenth of it.
/// Half as much are relocations of a static program that may lie anywhere. A bitmap says the same; glibc applies it from
/// 2.36 on, and linkers that cannot write it do not.
fn link() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SCRIPT}");
    // next to what is built: that may be kept for a checkout that lies elsewhere
    let script = Path::new(&env::var("OUT_DIR").unwrap_or_default()).join(SCRIPT);
    fs::copy(SCRIPT, &script)?;
    for argument in ["-z,pack-relative-relocs", "--no-eh-frame-hdr", &format!("-T,{}", script.display())] {
        println!("cargo::rustc-link-arg-bin=kes=-Wl,{argument}");
    }
    Ok(())
}
