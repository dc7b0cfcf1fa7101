//! System calls that have no safe wrapper elsewhere, each behind a safe function of our own.
//!
//! The only file of this crate with `unsafe`. Decides nothing and retries nothing: arguments in,
//! `Errno` out. What must hold for a call to be sound is checked here or carried by a type:
//! [`Alone`] proves that the process has one thread, without which running Rust after a fork is not
//! allowed.

use std::ffi::{CStr, CString, c_int, c_long, c_uint, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use orc_base::{Context, Error, Result};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use tokio::io::unix::AsyncFd;

/// Proof that this process has one thread and starts no other.
///
/// Only the launcher and its descendants hold one: they never start threads.
#[derive(Debug)]
pub(crate) struct Alone(());

impl Alone {
    /// Counts the threads.
    pub(crate) fn prove() -> Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")
            .context(|| "list /proc/self/task")?
            .count();
        if threads != 1 {
            return Err(Error::internal(format!(
                "the launcher must be single-threaded, but this process has {threads} threads"
            )));
        }
        Ok(Self(()))
    }
}

#[cfg(test)]
impl Alone {
    /// For a test's thread, which may change namespaces of its own but must not fork.
    pub(crate) fn in_a_thread() -> Self {
        Self(())
    }
}

/// Which side of a [`clone`] this is.
#[derive(Debug)]
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The one that called.
    Parent {
        /// The child.
        pid: Pid,
        /// The child, safe against reuse of its number.
        pidfd: OwnedFd,
    },
}

/// clone3(2) without shared memory: a fork whose child may start in new namespaces and in a cgroup
/// of the second version.
pub(crate) fn clone(
    _alone: &Alone,
    namespaces: UnshareFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    // The constant of the C library does not fit into its type.
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let into_cgroup = match cgroup {
        Some(_) => CLONE_INTO_CGROUP,
        None => 0,
    };
    let args = libc::clone_args {
        flags: u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64 | into_cgroup,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: `args` is a valid clone_args of the given size; without CLONE_VM the child gets a copy
    // of the whole address space and goes on with this stack. The process has one thread (`Alone`),
    // so no lock of the allocator or anything else can be held by a thread that the child lacks.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    };
    match check(pid)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent {
            pid: Pid::from_raw(pid as i32).ok_or(Errno::INVAL)?,
            // SAFETY: CLONE_PIDFD succeeded, so the kernel stored a new descriptor that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// fork(2) by way of the C library, whose own records stay right: the child's pid in the parent, none
/// in the child.
pub(crate) fn fork(_alone: &Alone) -> Result<Option<Pid>, Errno> {
    // SAFETY: the process has one thread (`Alone`), so the child may run any code.
    let pid = check(c_long::from(unsafe { libc::fork() }))?;
    Ok(Pid::from_raw(pid as i32))
}

/// kill(2) for a child of this process, which cannot have been replaced before it is reaped.
pub(crate) fn kill(child: Pid, signal: c_int) -> Result<(), Errno> {
    // SAFETY: takes plain numbers.
    let result = unsafe { libc::kill(child.as_raw_nonzero().get(), signal) };
    check(c_long::from(result)).map(drop)
}

/// unshare(2) for namespaces of this process alone.
pub(crate) fn unshare(_alone: &Alone, namespaces: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!namespaces.contains(UnshareFlags::FILES));
    // SAFETY: only CLONE_FILES can invalidate descriptors of other threads, and there are none.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// unshare(2): this thread gets a root, a working directory, a umask and mounts of its own. It keeps
/// them to its end, so it should be a thread for this purpose only.
pub(crate) fn unshare_mounts_of_thread() -> Result<(), Errno> {
    // SAFETY: only CLONE_FILES can invalidate descriptors of other threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// unshare(2): this thread gets a root, a working directory and a umask of its own, which setns(2)
/// wants before it joins other mounts.
pub(crate) fn unshare_root_of_thread() -> Result<(), Errno> {
    // SAFETY: only CLONE_FILES can invalidate descriptors of other threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// execve(2); returns only when it failed.
pub(crate) fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    let result = unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    match check(c_long::from(result)) {
        Err(errno) => errno,
        Ok(_) => Errno::INVAL,
    }
}

/// _exit(2): ends the process at once, without running what was registered for exit.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: always allowed; does not return.
    unsafe { libc::_exit(code) }
}

/// The last signal.
pub(crate) const LAST_SIGNAL: c_int = 64;

/// Blocks no signal: what a program expects at its start.
pub(crate) fn unblock_signals() -> Result<(), Errno> {
    // SAFETY: an all-zero sigset_t is valid to be filled by sigemptyset, and outlives the calls.
    let result = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    check(c_long::from(result)).map(drop)
}

/// Ignores a signal.
pub(crate) fn ignore_signal(signal: c_int) {
    // SAFETY: SIG_IGN is a valid action for any signal; an unknown one is refused without effect.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Gives a signal its default action.
pub(crate) fn default_signal(signal: c_int) {
    // SAFETY: SIG_DFL is a valid action for any signal; an unknown one is refused without effect.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Blocks `signals` and returns a descriptor that becomes readable when one of them arrives.
pub(crate) fn signal_fd(signals: &[c_int]) -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised by sigemptyset before use and outlives the calls.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(c_long::from(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        )))?;
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    let fd = check(c_long::from(fd))?;
    // SAFETY: signalfd returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Blocks all signals and waits for one: for a process whose only work is signals.
pub(crate) fn wait_for_signal() -> Result<c_int, Errno> {
    let mut signal = 0;
    // SAFETY: the set is initialised by sigfillset and outlives the calls; `signal` is writable.
    let result = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        libc::sigwait(&raw const all, &raw mut signal)
    };
    match result {
        0 => Ok(signal),
        error => Err(Errno::from_raw_os_error(error)),
    }
}

/// Blocks all signals, so that none is lost between a fork and [`wait_for_signal`].
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset and outlives the calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// Closes all descriptors from `first` on, now.
pub(crate) fn close_from(_alone: &Alone, first: RawFd) -> Result<(), Errno> {
    close_range(first, 0)
}

/// Closes all descriptors from `first` on when a program is executed.
pub(crate) fn close_from_at_exec(first: RawFd) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd, flags: c_uint) -> Result<(), Errno> {
    let first = c_uint::try_from(first).map_err(|_| Errno::INVAL)?;
    // SAFETY: takes plain numbers. With CLOEXEC nothing is closed now; without it the callers end
    // the life of what they still own by name (they are about to loop or exit without drops).
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) };
    check(result).map(drop)
}

/// pidfd_send_signal(2) with any number: real-time signals have no name that a typed wrapper knows.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), Errno> {
    // SAFETY: a null siginfo lets the kernel fill it in; no memory is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<c_void>(),
            0,
        )
    };
    check(result).map(drop)
}

/// Attributes of a mount to set and to clear (mount_setattr(2)).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct MountAttributes {
    /// `MOUNT_ATTR_*` to set.
    pub(crate) set: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 to leave it.
    pub(crate) propagation: u64,
    /// Whether mounts below are changed too.
    pub(crate) recursive: bool,
}

/// mount_setattr(2) on an open mount.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
) -> Result<(), Errno> {
    let args = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: 0,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    let recursive = match attributes.recursive {
        true => libc::AT_RECURSIVE,
        false => 0,
    };
    // SAFETY: the path is an empty C string, `args` is a valid mount_attr of the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const args,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Gives this process a session keyring of its own (keyctl(2)), so that it does not share its
/// parent's.
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name makes an anonymous keyring.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<c_void>(),
        )
    };
    check(result).map(drop)
}

/// Brings up the loopback device of this process's network namespace (netdevice(7)).
pub(crate) fn raise_loopback() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as std::ffi::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as std::ffi::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    check(c_long::from(result)).map(drop)
}

/// One instruction of classic BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) value: u32,
}

/// Installs a system call filter for this process and what it executes.
pub(crate) fn install_filter(filter: &[Instruction]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?,
        filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` has the layout of sock_filter; the kernel copies `len` of them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    check(result).map(drop)
}

/// Loads a device filter in extended BPF instructions (`struct bpf_insn`, as numbers) and attaches
/// it to a cgroup of the second version. It lives as long as the cgroup.
pub(crate) fn attach_device_filter(
    cgroup: BorrowedFd<'_>,
    instructions: &[u64],
) -> Result<(), Errno> {
    let program = load_device_filter(instructions)?;
    const BPF_PROG_ATTACH: c_int = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        program_fd: u32,
        kind: u32,
        flags: u32,
    }
    let args = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        program_fd: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &args).map(drop)
}

fn load_device_filter(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    const BPF_PROG_LOAD: c_int = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    let args = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(|_| Errno::INVAL)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &args)?;
    // SAFETY: BPF_PROG_LOAD returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn bpf<T>(command: c_int, args: &T) -> Result<c_long, Errno> {
    // SAFETY: both callers pass a structure that is the beginning of the kernel's `union bpf_attr`
    // for their command, without padding; the kernel takes what is missing as zero.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, args as *const T, size_of::<T>()) })
}

/// Turns what was inherited at descriptor 0 into an owned one and leaves `/dev/null` there.
pub(crate) fn take_stdin() -> Result<OwnedFd, Errno> {
    const FIRST_OWN: RawFd = 3;
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST_OWN)?;
    let null = rustix::fs::open(
        c"/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    Ok(taken)
}

/// Waits on a descriptor without a thread. Must be called in a tokio runtime.
pub(crate) fn watch(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open as long as it lives and always gives the same descriptor.
    let watched = unsafe { AsyncFd::register(fd) };
    watched.map_err(|error| std::io::Error::from(error).into())
}

fn pointers(strings: &[CString]) -> Vec<*const std::ffi::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

fn check(result: c_long) -> Result<c_long, Errno> {
    if result == -1 {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(errno.unwrap_or(libc::EINVAL)));
    }
    Ok(result)
}
