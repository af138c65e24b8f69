//! Memory from the system and back to it: the calls that have no safe form.
//!
//! Memory for secrets is locked into RAM, left out of core dumps, and wiped when it is given back. Only these pages are
//! locked, not the complete process: locking everything costs a hundred megabytes and fails later, at some allocation,
//! where the limit is low (docs/containers.md §7). Many keys share a page.
#![allow(unsafe_code, reason = "the one reviewed place: mmap, mlock and malloc_trim have no safe form")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};
use zeroize::Zeroize as _;

/// Length of every secret in bytes.
pub(crate) const SECRET_LEN: usize = 32;

/// Two secrets of one key.
const SLOT: usize = 2 * SECRET_LEN;

/// Memory taken from the system at a time.
const PAGE: usize = 4096;

/// Slots that nobody uses. Pages are never unmapped: a key server needs them again.
static FREE: Mutex<Vec<Slot>> = Mutex::new(Vec::new());

static LOCKED: AtomicUsize = AtomicUsize::new(0);
static UNLOCKED: AtomicUsize = AtomicUsize::new(0);

/// The state of the memory that holds secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockReport {
    /// Bytes that cannot be swapped out.
    pub(crate) locked: usize,
    /// Bytes that could not be locked: the limit (`ulimit -l`) is too low.
    pub(crate) unlocked: usize,
}

/// The present state. Takes one page if none was taken yet, to find out whether locking works.
pub(crate) fn report() -> LockReport {
    drop(LockedSecret::new(&[0; SECRET_LEN], &[0; SECRET_LEN]));
    LockReport { locked: LOCKED.load(Ordering::Relaxed), unlocked: UNLOCKED.load(Ordering::Relaxed) }
}

/// Gives free pages of the heap back to the system. glibc does so by itself only at the end of a heap: what a flood has
/// taken would stay for good.
pub(crate) fn give_back() {
    // SAFETY: malloc_trim(3) may be called from any thread at any time; it touches nothing that is in use.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Address of [`SLOT`] bytes that only their holder reads and writes.
struct Slot(NonNull<[u8; SLOT]>);

// SAFETY: a slot is memory that exactly one `LockedSecret` or the free list holds; nothing in it is tied to a thread.
unsafe impl Send for Slot {}
// SAFETY: through a shared reference the bytes are only read.
unsafe impl Sync for Slot {}

/// Two 32-byte secrets in locked memory.
pub(crate) struct LockedSecret(Slot);

impl LockedSecret {
    pub(crate) fn new(first: &[u8; SECRET_LEN], second: &[u8; SECRET_LEN]) -> Self {
        let mut free = free();
        let slot = free.pop().unwrap_or_else(|| take_page(&mut free));
        drop(free);
        let mut secret = Self(slot);
        let (one, two) = secret.bytes_mut().split_at_mut(SECRET_LEN);
        one.copy_from_slice(first);
        two.copy_from_slice(second);
        secret
    }

    pub(crate) fn first(&self) -> &[u8; SECRET_LEN] {
        self.bytes().first_chunk().unwrap_or(&[0; SECRET_LEN])
    }

    pub(crate) fn second(&self) -> &[u8; SECRET_LEN] {
        self.bytes().last_chunk().unwrap_or(&[0; SECRET_LEN])
    }

    fn bytes(&self) -> &[u8; SLOT] {
        // SAFETY: the slot points into a page that is never unmapped, and is held by `self` alone.
        unsafe { self.0.0.as_ref() }
    }

    fn bytes_mut(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as above, and `&mut self` excludes every other reference.
        unsafe { self.0.0.as_mut() }
    }
}

impl Drop for LockedSecret {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        free().push(Slot(self.0.0));
    }
}

fn free() -> MutexGuard<'static, Vec<Slot>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Maps a page, puts all its slots but one on the free list and returns that one.
fn take_page(free: &mut Vec<Slot>) -> Slot {
    let flags = MapFlags::PRIVATE;
    // SAFETY: a new anonymous mapping touches no existing memory.
    let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let Some(page) = mapped.ok().and_then(NonNull::new) else {
        // No page is available: the allocator's answer to that is to end the process, and so is ours.
        std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; PAGE]>());
    };
    // SAFETY: the range is the mapping just made; both calls change how the kernel treats it, not its content.
    let locked = unsafe {
        let _ = madvise(page.as_ptr(), PAGE, Advice::LinuxDontDump);
        mlock(page.as_ptr(), PAGE).is_ok()
    };
    if locked { &LOCKED } else { &UNLOCKED }.fetch_add(PAGE, Ordering::Relaxed);
    let start = page.cast::<[u8; SLOT]>();
    // SAFETY: every slot is within the page, and they do not overlap.
    free.extend((1..PAGE / SLOT).map(|index| Slot(unsafe { start.add(index) })));
    Slot(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> usize {
        LOCKED.load(Ordering::Relaxed) + UNLOCKED.load(Ordering::Relaxed)
    }

    fn secret(number: usize) -> [u8; SECRET_LEN] {
        [u8::try_from(number % 255).unwrap() + 1; SECRET_LEN]
    }

    /// Other tests take a few pages meanwhile.
    #[test]
    fn many_secrets_share_a_page_that_is_used_again() {
        let before = taken();
        for _ in 0..20 {
            let secrets: Vec<_> = (0..640).map(|n| LockedSecret::new(&secret(n), &secret(n + 1))).collect();
            for (number, held) in secrets.iter().enumerate() {
                assert_eq!((held.first(), held.second()), (&secret(number), &secret(number + 1)));
            }
        }
        assert!(taken() - before < 100 * PAGE, "{} bytes for 640 secrets", taken() - before);
        assert_eq!(taken() % PAGE, 0);
    }

    #[test]
    fn what_is_given_back_is_wiped() {
        let secrets: Vec<_> = (0..100).map(|n| LockedSecret::new(&secret(n), &secret(n))).collect();
        drop(secrets);
        let free = free();
        assert!(free.len() >= 100);
        // SAFETY: as long as the list is locked nobody takes a slot from it.
        assert!(free.iter().all(|slot| unsafe { slot.0.as_ref() } == &[0; SLOT]));
    }

    /// The kernel's flags of the mapping that holds an address (proc(5), `VmFlags`).
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_it = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            if let Some((start, end)) = range {
                let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
                is_it = (start..end).contains(&address);
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_it) {
                return flags.to_owned();
            }
        }
        panic!("no mapping holds {address:x}");
    }

    #[test]
    fn pages_are_locked_and_left_out_of_core_dumps() {
        let held = LockedSecret::new(&secret(1), &secret(2));
        let flags = flags(held.0.0.as_ptr() as usize);
        assert!(flags.split_whitespace().any(|flag| flag == "dd"), "not excluded from core dumps: {flags}");
        let is_locked = flags.split_whitespace().any(|flag| flag == "lo");
        assert!(is_locked || UNLOCKED.load(Ordering::Relaxed) > 0, "not locked, and not reported: {flags}");
    }

    #[test]
    fn the_report_counts_pages() {
        let report = report();
        assert!(report.locked + report.unlocked >= PAGE);
    }
}
