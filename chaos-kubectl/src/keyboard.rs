//! Reads single keys from the terminal, without Enter, and leaves the terminal as it was.

use std::io::{self, IsTerminal as _, Read as _};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    Halt,
    Yes,
    Quit,
    Other,
}

/// The keys of a terminal. When it is dropped, the terminal is as before.
pub struct Keyboard {
    before: Termios,
    keys: mpsc::UnboundedReceiver<Key>,
}

impl Keyboard {
    /// Reads keys from standard input from now on; `None` where that is no terminal.
    pub fn open() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut single = before.clone();
        // Ctrl-C is a key, too: whoever is ended by a signal cannot put the terminal back.
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &single)?;
        let (sender, keys) = mpsc::unbounded_channel();
        // Nobody waits for this thread: it ends with the program.
        std::thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            let mut bytes = [0; 16];
            while let Ok(length @ 1..) = io::stdin().lock().read(&mut bytes) {
                for key in keys_of(&bytes[..length]) {
                    if sender.send(key).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(Some(Self { before, keys }))
    }

    /// The next key; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Key> {
        self.keys.recv().await
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to be put back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// The keys that a terminal sends as these bytes.
fn keys_of(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        let (key, left) = match (first, rest) {
            (0x1b, [b'[' | b'O', b'A', left @ ..]) => (Key::Up, left),
            (0x1b, [b'[' | b'O', b'B', left @ ..]) => (Key::Down, left),
            (0x1b, [b'[' | b'O', _, left @ ..]) => (Key::Other, left),
            (b'k', left) => (Key::Up, left),
            (b'j', left) => (Key::Down, left),
            (b'h', left) => (Key::Halt, left),
            (b'y' | b'Y', left) => (Key::Yes, left),
            // Ctrl-C and Ctrl-D.
            (b'q' | b'Q' | 0x03 | 0x04, left) => (Key::Quit, left),
            (_, left) => (Key::Other, left),
        };
        keys.push(key);
        bytes = left;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_arrows_are_keys() {
        assert_eq!(
            keys_of(b"jk\x1b[A\x1bOB\x1b[Cx"),
            [Key::Down, Key::Up, Key::Up, Key::Down, Key::Other, Key::Other]
        );
        assert_eq!(keys_of(b"hyq\x03"), [Key::Halt, Key::Yes, Key::Quit, Key::Quit]);
        assert_eq!(keys_of(b"\x1b"), [Key::Other]);
    }
}
