//! Where text for people goes: above the line that is being typed, never through it.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use rustyline::ExternalPrinter;

/// Copies print to the same place.
#[derive(Clone, Default)]
pub struct Screen {
    /// There once a prompt is shown on a terminal.
    printer: Arc<Mutex<Option<Box<dyn ExternalPrinter + Send>>>>,
}

impl Screen {
    pub fn new() -> Screen {
        Screen::default()
    }

    /// From now on a prompt is shown, and this prints above it.
    pub fn attach(&self, printer: Box<dyn ExternalPrinter + Send>) {
        *self.printer.lock() = Some(printer);
    }

    pub fn detach(&self) {
        *self.printer.lock() = None;
    }

    /// Prints a line (or several): above the prompt, or to `otherwise` where there is none.
    fn print_or(&self, text: &str, otherwise: &mut dyn Write) {
        let mut text = text.trim_end().to_string();
        text.push('\n');
        let mut printer = self.printer.lock();
        let printed = printer
            .as_mut()
            .is_some_and(|printer| printer.print(text.clone()).is_ok());
        if !printed {
            // Nobody is left to tell that standard output is gone.
            let _ = otherwise.write_all(text.as_bytes());
            let _ = otherwise.flush();
        }
    }

    /// News: to standard output where there is no prompt.
    pub fn print(&self, text: &str) {
        self.print_or(text, &mut io::stdout());
    }

    /// Starts logging to this screen, to standard error where there is no prompt. RUST_LOG
    /// chooses what is logged; by default warnings and errors.
    pub fn init_logging(&self) {
        let target = env_logger::Target::Pipe(Box::new(LogPipe(self.clone())));
        let env = env_logger::Env::default().default_filter_or("warn");
        env_logger::Builder::from_env(env).target(target).init();
    }
}

struct LogPipe(Screen);

impl Write for LogPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .print_or(&String::from_utf8_lossy(bytes), &mut io::stderr());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
