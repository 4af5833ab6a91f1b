//! A process that writes lines, or answers each line with one, and ends with its owner.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

/// How long a peer may take over one answer: a machine under load, not a hang.
const PATIENCE: Duration = Duration::from_mins(1);
/// Lines of its log that an error shows.
const SHOWN_LINES: usize = 30;

/// A running peer, killed when this is dropped. It ends by itself when its input ends, which is
/// what becomes of it when the test's process dies without dropping anything.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    log: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, answers) = mpsc::channel();
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let written = Arc::clone(&log);
        let mut readers = Vec::new();
        if let Some(output) = child.stdout.take() {
            readers.push(each_line(output, move |line| sender.send(line).is_ok()));
        }
        if let Some(output) = child.stderr.take() {
            readers.push(each_line(output, move |line| {
                let mut log = written.lock().unwrap_or_else(PoisonError::into_inner);
                if log.len() == SHOWN_LINES {
                    log.pop_front();
                }
                log.push_back(line);
                true
            }));
        }
        let input = child.stdin.take();
        Ok(Self {
            child,
            input,
            answers,
            log,
            readers,
        })
    }

    /// Sends a value and returns what it is answered with.
    pub(super) fn ask(&mut self, question: &Value) -> io::Result<Value> {
        self.tell(&question.to_string())?;
        let answer = self.line()?;
        serde_json::from_str(&answer).map_err(|error| self.failure(&io::Error::other(error)))
    }

    /// Sends a line.
    pub(super) fn tell(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let sent = input
            .write_all(line.as_bytes())
            .and_then(|()| input.flush());
        sent.map_err(|error| self.failure(&error))
    }

    /// Returns the next line that the peer writes.
    pub(super) fn line(&mut self) -> io::Result<String> {
        let line = self.answers.recv_timeout(PATIENCE);
        line.map_err(|error| self.failure(&io::Error::other(error)))
    }

    fn failure(&self, error: &io::Error) -> io::Error {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let log: Vec<_> = log.iter().map(String::as_str).collect();
        io::Error::other(format!(
            "the peer does not answer: {error}\n{}",
            log.join("\n")
        ))
    }
}

/// Without what it was asked.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // Fails only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

fn each_line(
    output: impl Read + Send + 'static,
    mut take: impl FnMut(String) -> bool + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if !take(line) {
                return;
            }
        }
    })
}
