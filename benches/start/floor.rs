//! The least that a kernel has to do to run `true` in a container, by hand.

use std::ffi::CString;
use std::path::Path;
use std::time::Instant;

/// Runs `true` so often in a container below `root` and prints each run's nanoseconds.
pub(crate) fn run(root: &Path, runs: usize) {
    let lower = root.join("lower");
    for directory in ["bin", "proc", "dev"] {
        std::fs::create_dir_all(lower.join(directory)).expect("a directory");
    }
    let binary = lower.join("bin/true");
    if !binary.exists() {
        std::fs::copy("/bin/busybox", &binary).expect("a static busybox");
    }
    let merged = root.join("merged");
    std::fs::create_dir_all(&merged).expect("a directory");
    let program = Program {
        merged: c_string(&merged),
        argv0: CString::from(c"/bin/true"),
    };
    for number in 0..runs {
        let layer = root.join(format!("run-{}-{number}", std::process::id()));
        let start = Instant::now();
        for directory in ["upper", "work"] {
            std::fs::create_dir_all(layer.join(directory)).expect("a directory");
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={},volatile",
            lower.display(),
            layer.join("upper").display(),
            layer.join("work").display()
        );
        program.run(&CString::new(options).expect("no NUL"));
        println!("{}", start.elapsed().as_nanos());
        std::fs::remove_dir_all(&layer).expect("remove the layer");
    }
}

struct Program {
    merged: CString,
    argv0: CString,
}

impl Program {
    fn run(&self, options: &CString) {
        let flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        // SAFETY: this process has one thread; clone_args is plain data and zero is valid for it.
        let pid = unsafe {
            let mut args: libc::clone_args = std::mem::zeroed();
            args.flags = flags as u64;
            args.exit_signal = libc::SIGCHLD as u64;
            libc::syscall(
                libc::SYS_clone3,
                &raw const args,
                size_of::<libc::clone_args>(),
            )
        };
        match pid {
            0 => self.child(options),
            pid if pid > 0 => {
                let mut status = 0;
                // SAFETY: `status` outlives the call.
                let waited = unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
                assert!(
                    waited == pid as i32 && status == 0,
                    "the program ended with {status:#x}"
                );
            }
            _ => panic!("clone3: {}", std::io::Error::last_os_error()),
        }
    }

    /// Never returns: executes the program or exits with the number of the step that failed.
    fn child(&self, options: &CString) -> ! {
        let null = std::ptr::null();
        let mount = |source: &std::ffi::CStr,
                     target: *const libc::c_char,
                     kind: &std::ffi::CStr,
                     flags,
                     data: *const libc::c_char| {
            // SAFETY: all pointers are NUL-terminated strings that outlive the call, or null.
            unsafe { libc::mount(source.as_ptr(), target, kind.as_ptr(), flags, data.cast()) }
        };
        let merged = self.merged.as_ptr();
        let argv = [self.argv0.as_ptr(), null];
        let steps: [&dyn Fn() -> i32; 7] = [
            &|| {
                mount(
                    c"none",
                    c"/".as_ptr(),
                    c"none",
                    libc::MS_REC | libc::MS_PRIVATE,
                    null,
                )
            },
            &|| mount(c"overlay", merged, c"overlay", 0, options.as_ptr()),
            // SAFETY: a NUL-terminated path.
            &|| unsafe { libc::chdir(merged) },
            &|| mount(c"proc", c"proc".as_ptr(), c"proc", 0, null),
            &|| mount(c"tmpfs", c"dev".as_ptr(), c"tmpfs", 0, null),
            // SAFETY: pivot_root(2) of "." onto itself stacks the old root below the new one, which
            // umount2 then detaches.
            &|| unsafe {
                libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) as i32
                    | libc::umount2(c".".as_ptr(), libc::MNT_DETACH)
            },
            // SAFETY: argv ends with null, and so does the empty environment.
            &|| unsafe { libc::execve(argv[0], argv.as_ptr(), [null].as_ptr()) },
        ];
        for (number, step) in steps.iter().enumerate() {
            if step() != 0 {
                eprintln!("floor: step {number}: {}", std::io::Error::last_os_error());
                std::process::exit(100 + number as i32);
            }
        }
        unreachable!("execve does not return when it succeeds")
    }
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL")
}
