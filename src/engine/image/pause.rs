//! The smallest program that waits: what holds a pod's network where the engine has no pods of its own.
//!
//! A network namespace lives as long as a process in it. That process needs nothing but to wait for its end, so it is
//! one loop around one system call, put into an executable of 129 bytes (elf(5)) here. It is the same in every
//! release of kestack, so a new release replaces no pod. It handles no signal. As the first process of its container
//! it gets none but SIGKILL (`pid_namespaces(7)`), which therefore is what its container is stopped with.

/// Where the program is mapped; the usual place of executables that are not relocated.
const BASE: u64 = 0x40_0000;
/// Sizes of the file's header and of its one program header.
const EHDR: u16 = 64;
const PHDR: u16 = 56;

/// The program for this machine, `None` if there is none for its processor.
pub(super) fn program() -> Option<Vec<u8>> {
    match std::env::consts::ARCH {
        "x86_64" => Some(executable(62, &X86_64)),
        "aarch64" => Some(executable(183, &AARCH64)),
        _ => None,
    }
}

/// `again: pause(); goto again`
const X86_64: [u8; 9] = [
    0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34: number of pause
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp -9
];

/// `again: ppoll(NULL, 0, NULL, NULL); goto again`; this processor has no pause.
const AARCH64: [u8; 28] = [
    0x00, 0x00, 0x80, 0xd2, // mov x0, #0
    0x01, 0x00, 0x80, 0xd2, // mov x1, #0
    0x02, 0x00, 0x80, 0xd2, // mov x2, #0
    0x03, 0x00, 0x80, 0xd2, // mov x3, #0
    0x28, 0x09, 0x80, 0xd2, // mov x8, #73: number of ppoll
    0x01, 0x00, 0x00, 0xd4, // svc #0
    0xfa, 0xff, 0xff, 0x17, // b -24
];

/// An executable whose one segment is the complete file, readable and executable, and which starts at `code`.
fn executable(machine: u16, code: &[u8]) -> Vec<u8> {
    let start = u64::from(EHDR + PHDR);
    let size = start + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec(); // 64 bit, little endian, version 1
    file.resize(16, 0);
    file.extend([2_u16, machine].map(u16::to_le_bytes).concat()); // fixed addresses
    file.extend(1_u32.to_le_bytes());
    file.extend([BASE + start, u64::from(EHDR), 0].map(u64::to_le_bytes).concat()); // entry, program headers, sections
    file.extend(0_u32.to_le_bytes());
    file.extend([EHDR, PHDR, 1, 0, 0, 0].map(u16::to_le_bytes).concat()); // one program header, no section
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat()); // to be loaded; readable, executable
    file.extend([0, BASE, BASE, size, size, 0x1_0000].map(u64::to_le_bytes).concat()); // largest page size there is
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_waits_until_it_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pause");
        std::fs::write(&path, program().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).stdin(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        assert_eq!(stat.split(' ').nth(2), Some("S"), "it sleeps and does not spin: {stat}");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn both_programs_are_static_executables() {
        for (machine, file) in [(62_u16, executable(62, &X86_64)), (183, executable(183, &AARCH64))] {
            assert_eq!(file[0x12..0x14], machine.to_le_bytes());
            assert_eq!(file.len() as u64, u64::from_le_bytes(file[96..104].try_into().unwrap()), "size of the segment");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pause");
        std::fs::write(&path, program().unwrap()).unwrap();
        assert_eq!(super::super::elf::check(&path, super::super::Architecture::HOST).unwrap(), Ok(()));
    }
}
