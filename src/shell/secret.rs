//! Asking for a password: nothing of it is shown, and what held it is wiped.

use std::io::{self, Write};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use zeroize::Zeroizing;

use crate::control::password::{MAX_PASSWORD, Password};

use super::interrupt::Interrupt;
use super::peer_shell::ShellError;
use super::screen::say;

/// How often a signal is looked for.
const POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// What a key does to a line that nobody sees.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    More,
    Done,
    GivenUp,
}

/// Asks on the terminal, until the answer can be a password.
///
/// # Errors
/// If it is given up (Ctrl-C, Ctrl-D, Esc, a signal), or the terminal cannot be used.
pub fn ask(question: &str, interrupt: &Interrupt) -> Result<Password, ShellError> {
    loop {
        let line = read_hidden(question, interrupt);
        say!("");
        match line?.parse::<Password>() {
            Ok(password) => return Ok(password),
            Err(error) => say!("The password {error}."),
        }
    }
}

/// Nothing is shown of what is typed once the question is on the screen, however fast.
fn read_hidden(question: &str, interrupt: &Interrupt) -> Result<Zeroizing<String>, ShellError> {
    let failed =
        |source: io::Error| ShellError::Other(format!("no password can be read: {source}"));
    terminal::enable_raw_mode().map_err(failed)?;
    print!("{question}: ");
    let _ = io::stdout().flush();
    let line = read_keys(interrupt);
    let _ = terminal::disable_raw_mode();
    line.map_err(failed)?.ok_or(ShellError::Interrupted)
}

fn read_keys(interrupt: &Interrupt) -> io::Result<Option<Zeroizing<String>>> {
    // Its memory must not move, or the old place would keep a copy.
    let mut line = Zeroizing::new(String::with_capacity(2 * MAX_PASSWORD));
    loop {
        if interrupt.came() {
            return Ok(None);
        }
        if !event::poll(POLL)? {
            continue;
        }
        let Event::Key(key) = event::read()? else {
            continue;
        };
        match press(key, &mut line) {
            Typed::More => {}
            Typed::Done => return Ok(Some(line)),
            Typed::GivenUp => return Ok(None),
        }
    }
}

fn press(key: KeyEvent, line: &mut String) -> Typed {
    if key.kind == KeyEventKind::Release {
        return Typed::More;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter => return Typed::Done,
        KeyCode::Char('j' | 'm') if control => return Typed::Done,
        KeyCode::Char('c' | 'd') if control => return Typed::GivenUp,
        KeyCode::Esc => return Typed::GivenUp,
        KeyCode::Char('u') if control => line.clear(),
        KeyCode::Char(_) if control => {}
        KeyCode::Char(c) if line.len() + c.len_utf8() <= 2 * MAX_PASSWORD => line.push(c),
        KeyCode::Backspace => drop(line.pop()),
        _ => {}
    }
    Typed::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let mut line = String::new();
        let mut press = |code, modifiers| press(KeyEvent::new(code, modifiers), &mut line);
        let (plain, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for c in "oops".chars() {
            press(KeyCode::Char(c), plain);
        }
        press(KeyCode::Char('u'), control);
        for c in "päss x".chars() {
            assert_eq!(press(KeyCode::Char(c), plain), Typed::More);
        }
        press(KeyCode::Backspace, plain);
        press(KeyCode::Tab, plain);
        press(KeyCode::Char('a'), control);
        assert_eq!(press(KeyCode::Char('c'), control), Typed::GivenUp);
        assert_eq!(press(KeyCode::Enter, plain), Typed::Done);
        assert_eq!(line, "päss ");
    }
}
