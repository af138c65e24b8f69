//! Calls to the kernel: limits of another process, and folders that not even root may change.

use std::io;
use std::path::Path;

/// The most bytes a process may write into a file, and the most that this may be raised to; `None` means no limit.
pub(super) type FileSize = (Option<u64>, Option<u64>);

#[cfg(target_os = "linux")]
mod imp {
    use std::fs::File;

    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    use rustix::io::Errno;
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    use super::{FileSize, Path, io, parse};

    pub(in super::super) fn file_size(pid: i32) -> io::Result<FileSize> {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
        parse(&limits)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc shows no limit of the file size"))
    }

    pub(in super::super) fn set_file_size(pid: i32, (current, maximum): FileSize) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
        match prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum }) {
            // it ended, and its limits with it
            Err(Errno::SRCH) => Ok(()),
            set => Ok(set.map(drop)?),
        }
    }

    pub(in super::super) fn set_immutable(folder: &Path, on: bool) -> io::Result<()> {
        let file = File::open(folder)?;
        let flags = match ioctl_getflags(&file) {
            // without such flags there is none to take away
            Err(Errno::NOTTY | Errno::OPNOTSUPP) if !on => return Ok(()),
            flags => flags?,
        };
        let wanted = if on { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE };
        if wanted != flags {
            ioctl_setflags(&file, wanted)?;
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{FileSize, Path, io};

    pub(in super::super) fn file_size(_: i32) -> io::Result<FileSize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) fn set_file_size(_: i32, _: FileSize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) fn set_immutable(_: &Path, on: bool) -> io::Result<()> {
        if on { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }
}

pub(super) use imp::{file_size, set_file_size, set_immutable};

/// The line of `/proc/PID/limits` about the size of files (proc(5)).
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has /proc"))]
fn parse(limits: &str) -> Option<FileSize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file size"))?;
    let mut words = line.split_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(None),
        bytes => bytes.parse().ok().map(Some),
    };
    Some((limit()?, limit()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max file size             4096                 unlimited            bytes     \n";
        assert_eq!(parse(text), Some((Some(4096), None)));
        assert_eq!(parse("Max cpu time  unlimited"), None);
        if cfg!(target_os = "linux") {
            let own = i32::try_from(std::process::id()).unwrap();
            let limit = file_size(own).unwrap();
            set_file_size(own, limit).unwrap();
            assert_eq!(file_size(own).unwrap(), limit);
        }
    }
}
