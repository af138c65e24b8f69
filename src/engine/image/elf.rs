//! Looks at an executable's head: can it run where there is no dynamic linker?

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::{Architecture, ImageError};

/// Bytes of the file that hold all program headers of any usual executable.
const HEAD: u64 = 64 << 10;
/// Program header type of the dynamic linker's path (elf(5)).
const PT_INTERP: u32 = 3;

/// Refuses a program that could not run where there is nothing else.
pub(super) fn judged(path: &Path, architecture: Architecture) -> Result<(), ImageError> {
    let judged = check(path, architecture).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    judged.map_err(|why| ImageError::Unsuitable { path: path.to_owned(), why, platform: architecture })
}

/// The outer result is reading the file, the inner one what is wrong with it.
pub(super) fn check(path: &Path, architecture: Architecture) -> io::Result<Result<(), &'static str>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(judge(&head, architecture).unwrap_or(Err("is not a Linux executable")))
}

/// `None` if the head ends too early to be an executable's.
fn judge(head: &[u8], architecture: Architecture) -> Option<Result<(), &'static str>> {
    // Magic, 64 bit, little endian.
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    if read_u16(head, 0x12)? != architecture.machine() {
        return Some(Err("is made for another kind of processor"));
    }
    let table = usize::try_from(u64::from_le_bytes(head.get(0x20..0x28)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(read_u16(head, 0x36)?), usize::from(read_u16(head, 0x38)?));
    for index in 0..count {
        let at = table.checked_add(index.checked_mul(size)?)?;
        let kind = head.get(at..at.checked_add(4)?)?;
        if u32::from_le_bytes(kind.try_into().ok()?) == PT_INTERP {
            return Some(Err("is linked dynamically"));
        }
    }
    Some(Ok(()))
}

fn read_u16(head: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(head.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HOST: Architecture = Architecture::HOST;

    /// The head of an executable with one program header.
    fn executable(machine: u16, program_header: u32) -> Vec<u8> {
        let mut head = vec![0; 0x40 + 0x38];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[0x12..0x14].copy_from_slice(&machine.to_le_bytes());
        head[0x20..0x28].copy_from_slice(&0x40_u64.to_le_bytes());
        head[0x36..0x38].copy_from_slice(&0x38_u16.to_le_bytes());
        head[0x38..0x3a].copy_from_slice(&1_u16.to_le_bytes());
        head[0x40..0x44].copy_from_slice(&program_header.to_le_bytes());
        head
    }

    /// Enough of a static executable to be taken for one.
    pub(crate) fn static_executable() -> Vec<u8> {
        executable(HOST.machine(), 1)
    }

    #[test]
    fn tells_static_from_dynamic_and_foreign() {
        assert_eq!(judge(&static_executable(), HOST), Some(Ok(())));
        assert_eq!(judge(&executable(HOST.machine(), PT_INTERP), HOST), Some(Err("is linked dynamically")));
        assert_eq!(judge(&executable(8, 1), HOST), Some(Err("is made for another kind of processor")));
        assert_eq!(judge(b"\x7fELF", HOST), None);
        assert_eq!(judge(b"#!/bin/sh\n", HOST), None);
    }

    #[test]
    fn a_table_beyond_the_file_is_no_executable() {
        let mut head = static_executable();
        head[0x20..0x28].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(judge(&head, HOST), None);
    }
}
