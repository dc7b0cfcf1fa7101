//! The keys of `up` in the foreground, on a terminal: `d` leaves the containers running, `w` turns
//! watching on and off, Enter makes room between lines. Ctrl-C stays what it is. Docker's keys for
//! windows, `v` and `o`, say what there is instead.

use orc_base::Result;
use tokio::io::{AsyncReadExt, Stdin};

use crate::ui::terminal::{self, Keys};
use crate::ui::{footer, out};

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Leave; the containers go on.
    Detach,
    /// Watch files, or do not any more.
    Watch,
    /// A blank line.
    Enter,
}

/// Keys are read and shown until this is dropped.
pub(crate) struct Menu {
    stdin: Stdin,
    over: bool,
    _keys: Keys,
}

impl Menu {
    /// None when it is not `wanted`, or nobody types here.
    pub(crate) fn open(wanted: bool) -> Result<Option<Self>> {
        if !wanted || !terminal::stdin_is_terminal() || !terminal::stderr_is_terminal() {
            return Ok(None);
        }
        Ok(Some(Self {
            _keys: Keys::enter()?,
            stdin: tokio::io::stdin(),
            over: false,
        }))
    }

    /// Says what the keys do now.
    pub(crate) fn show(&self, watching: bool) {
        footer::show(match watching {
            true => "w Disable Watch   d Detach",
            false => "w Enable Watch   d Detach",
        });
    }

    /// The next key that means something.
    async fn key(&mut self) -> Key {
        while !self.over {
            match self.stdin.read_u8().await {
                Ok(byte) => {
                    if let Some(text) = instead(byte) {
                        out::note(text);
                    }
                    if let Some(key) = meaning(byte) {
                        return key;
                    }
                }
                Err(_) => self.over = true,
            }
        }
        std::future::pending().await
    }
}

impl Drop for Menu {
    fn drop(&mut self) {
        footer::hide();
    }
}

/// The next key of a menu, if there is one.
pub(crate) async fn next(menu: &mut Option<Menu>) -> Key {
    match menu {
        Some(menu) => menu.key().await,
        None => std::future::pending().await,
    }
}

/// A blank line.
pub(crate) fn make_room() {
    out::note("");
}

/// What is said to the keys that open a window with docker compose.
fn instead(byte: u8) -> Option<&'static str> {
    match byte {
        b'v' | b'V' => Some(
            "orc opens no window: `orc compose graph` draws this project, `orc compose ps` lists it",
        ),
        b'o' | b'O' => Some(
            "orc opens no window: `orc compose config` shows the configuration of this project",
        ),
        _ => None,
    }
}

fn meaning(byte: u8) -> Option<Key> {
    match byte {
        b'd' | b'D' => Some(Key::Detach),
        b'w' | b'W' => Some(Key::Watch),
        b'\n' | b'\r' => Some(Key::Enter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_meaning_or_none() {
        assert_eq!(meaning(b'd'), Some(Key::Detach));
        assert_eq!(meaning(b'w'), Some(Key::Watch));
        assert_eq!(meaning(b'\n'), Some(Key::Enter));
        assert_eq!(meaning(b'x'), None);
        for byte in [b'v', b'o'] {
            assert_eq!(meaning(byte), None);
            assert!(instead(byte).is_some_and(|text| text.contains("orc compose")));
        }
        assert_eq!(instead(b'd'), None);
    }

    #[test]
    fn nobody_types_in_a_test() {
        assert!(Menu::open(false).unwrap().is_none());
    }
}
