//! The few system calls for which std and socket2 have no safe wrapper.
//!
//! Everything here takes and returns owned or borrowed descriptors and plain values, so that the rest of the crate stays safe.
#![expect(
    unsafe_code,
    reason = "thin wrappers around system calls; each states why its arguments are valid"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether somebody keeps the host's clock right, as far as the kernel is told; nothing where it does not say.
pub(crate) fn clock_is_synchronised() -> Option<bool> {
    // SAFETY: all zero is a valid value, and asks for nothing to be changed.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in what it is given, which is ours.
    let state = check(unsafe { libc::adjtimex(&raw mut clock) }).ok()?;
    Some(state != libc::TIME_ERROR && clock.status & libc::STA_UNSYNC == 0)
}

/// Takes over a descriptor that a completion of an accept or an open delivered.
pub(crate) fn own_completed(fd: RawFd) -> OwnedFd {
    // SAFETY: each such descriptor is delivered by exactly one completion, so it has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// How long this machine has been up, the time that it slept included.
pub(crate) fn time_since_boot() -> Duration {
    let mut time = timespec(Duration::ZERO);
    // SAFETY: `time` lives across the call.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(read, 0, "Linux 2.6.39 and later have this clock");
    let seconds = u64::try_from(time.tv_sec).expect("no machine was booted in the future");
    let nanos = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(seconds, nanos)
}

/// A counter that is readable when it is not zero. Reads block: a ring turns that into a wait.
pub(crate) fn eventfd() -> io::Result<File> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }).map(File::from)
}

/// A timer that is readable when it has fired.
pub(crate) struct TimerFd(File);

impl TimerFd {
    /// A timer that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
        owned(fd).map(|fd| Self(File::from(fd)))
    }

    /// The descriptor behind it.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Fires after `first`, then every `interval`; an interval of zero fires once.
    pub(crate) fn set(&self, first: Duration, interval: Duration) -> io::Result<()> {
        let setting = libc::itimerspec {
            it_value: timespec(first.max(Duration::from_nanos(1))),
            it_interval: timespec(interval),
        };
        // SAFETY: `setting` lives across the call, the old value is not asked for.
        check(unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &setting, std::ptr::null_mut())
        })
        .map(drop)
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos()),
    }
}

/// A readiness queue of the kernel.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    /// The descriptor behind it: readable while anything is ready.
    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Starts watching.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, events: u32, data: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, data)
    }

    /// Changes what is watched for.
    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, events: u32, data: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, data)
    }

    /// Stops watching.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: BorrowedFd<'_>,
        events: u32,
        data: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: data };
        // SAFETY: both descriptors are open for the length of the call, `event` lives across it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) })
            .map(drop)
    }

    /// Fills `ready` from its start with what is ready right now; says how many.
    pub(crate) fn take_ready(&self, ready: &mut [libc::epoll_event]) -> io::Result<usize> {
        let room = libc::c_int::try_from(ready.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the kernel writes at most `room` entries into `ready`.
        let count =
            check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), ready.as_mut_ptr(), room, 0) })?;
        Ok(usize::try_from(count).expect("checked to be positive"))
    }
}

/// Zeroed pages of our own, aligned to a page, for memory that the kernel writes to.
pub(crate) struct Pages {
    start: NonNull<u8>,
    bytes: usize,
    is_leaked: bool,
}

impl Pages {
    /// `bytes` zeroes; pages cost memory only when they are touched.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at a place the kernel picks.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at zero");
        Ok(Self {
            start,
            bytes,
            is_leaked: false,
        })
    }

    /// Where they begin.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Keeps them mapped for ever.
    pub(crate) fn leak(&mut self) {
        self.is_leaked = true;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.is_leaked {
            return;
        }
        // SAFETY: exactly the mapping made in `new`; whoever hands it to the kernel keeps it until the kernel is done.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Announces that this process uses private expedited memory barriers. Cheap only while it has one thread.
pub(crate) fn register_membarrier() {
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    // SAFETY: takes no pointers. A kernel that knows no membarrier says so, and glommio finds another way.
    unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) };
}

/// The CPUs on which this thread may run.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: a set of zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills at most the given size of `set`.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    let most = usize::try_from(libc::CPU_SETSIZE).expect("a small positive constant");
    // SAFETY: `cpu` is below the size of the set.
    Ok((0..most)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}
