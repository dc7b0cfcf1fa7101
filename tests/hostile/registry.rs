//! A registry on loopback that honestly serves whatever bytes it was given.
//!
//! It speaks just as much HTTP as a pull needs, and checks nothing: a real registry would refuse some
//! of what the corpus wants to serve.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a path answers: its type and its bytes.
type Answers = Arc<Mutex<HashMap<String, (String, Vec<u8>)>>>;

/// Runs until the process ends.
#[derive(Debug, Clone)]
pub struct Registry {
    address: SocketAddr,
    answers: Answers,
}

impl Registry {
    /// Listens on a free port of loopback.
    pub fn start() -> std::io::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0")?)
    }

    /// Serves on a listener.
    pub fn on(listener: TcpListener) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let answers = Answers::default();
        let served = answers.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let answers = served.clone();
                // Whoever hangs up has what it wanted.
                std::thread::spawn(move || serve(connection, &answers));
            }
        });
        Ok(Self { address, answers })
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Forgets all it had.
    pub fn clear(&self) {
        self.answers().clear();
    }

    /// Serves `bytes` as the manifest of `repository` that is called `reference`.
    pub fn manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.put(path, media_type, bytes);
    }

    /// Serves `bytes` as the blob of this digest.
    pub fn blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.put(path, "application/octet-stream", bytes);
    }

    fn put(&self, path: String, media_type: &str, bytes: &[u8]) {
        let answer = (media_type.to_owned(), bytes.to_owned());
        self.answers().insert(path, answer);
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, Vec<u8>)>> {
        self.answers.lock().expect("nobody panics with it")
    }
}

fn serve(connection: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut out = connection.try_clone()?;
    let mut lines = BufReader::new(connection).lines();
    while let Some(first) = lines.next() {
        let first = first?;
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let mut words = first.split(' ');
        let is_head = words.next() == Some("HEAD");
        let path = words.next().unwrap_or_default();
        let answer = answers
            .lock()
            .expect("nobody panics with it")
            .get(path)
            .cloned();
        let (status, (media_type, bytes)) = match (path, answer) {
            ("/v2/", _) => ("200 OK", ("application/json".into(), b"{}".to_vec())),
            (_, Some(answer)) => ("200 OK", answer),
            (_, None) => ("404 Not Found", ("application/json".into(), b"{}".to_vec())),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        out.write_all(head.as_bytes())?;
        if !is_head {
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}
