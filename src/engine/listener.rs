//! Finds the process that listens on a TCP port of this host, from `/proc`, to name it in a message.

use std::fs;
use std::path::Path;

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) pid: u32,
    /// Its name, at most 15 characters (proc(5), `comm`).
    pub(super) program: String,
}

/// The process that listens on a port, `None` if there is none or it is not ours to see.
pub(super) fn of_port(port: u16) -> Option<Listener> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    let pid = processes().find(|pid| holds(*pid, &socket))?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
    Some(Listener { pid, program })
}

/// The inode of the socket that listens on `port`, from the text of `/proc/net/tcp` (proc(5)): columns are slot,
/// local address, remote address, state (`0A` is LISTEN), …, inode.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns.next()?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        (local.ends_with(&suffix) && state == "0A").then(|| inode.parse().ok())?
    })
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds(pid: u32, socket: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == Path::new(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
        1: 0100007F:2329 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n";

    #[test]
    fn only_listening_sockets_count() {
        assert_eq!(listening_inode(TABLE, 9000), Some(4711));
        assert_eq!(listening_inode(TABLE, 9001), None);
        assert_eq!(listening_inode(TABLE, 7373), None);
    }
}
