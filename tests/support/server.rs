//! A server that says the same to everyone: a registry that misbehaves, on a lab's loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::lab::Lab;

/// Answers every request with one response until it is dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Listens on `127.0.0.1:port` of the lab.
    pub(crate) fn start(lab: &Lab, port: u16, status: &'static str) -> Self {
        let namespace =
            std::fs::File::open(format!("/run/netns/{}", lab.namespace())).expect("a namespace");
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (stop.clone(), requests.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), None)
                .expect("enter the namespace");
            let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
            listener.set_nonblocking(true).expect("a socket");
            ready.send(()).expect("a test that waits");
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((mut connection, _)) => {
                        counted.fetch_add(1, Ordering::SeqCst);
                        let _ = connection.set_nonblocking(false);
                        let _ = connection.set_read_timeout(Some(Duration::from_secs(2)));
                        let _ = connection.read(&mut [0; 4096]);
                        let answer = format!(
                            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nRetry-After: 0\r\nConnection: close\r\n\r\n"
                        );
                        let _ = connection.write_all(answer.as_bytes());
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        is_ready
            .recv_timeout(Duration::from_secs(10))
            .expect("the server listens");
        Self {
            stop,
            requests,
            thread: Some(thread),
        }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
