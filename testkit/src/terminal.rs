//! A pseudo-terminal for commands that ask the user.

use crate::processes::{KillOnDrop, wait_for_end};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;

/// Runs a command at a terminal where this is typed. Returns its exit code and the text on the terminal, which includes
/// the typed text. The terminal reports no size.
pub fn run_at_terminal(command: &mut Command, typed: &str) -> (Option<i32>, String) {
    run_at_terminal_of(command, typed, (0, 0))
}

/// Does the same at a terminal with this many columns and rows.
pub fn run_at_terminal_of(command: &mut Command, typed: &str, (columns, rows): (u16, u16)) -> (Option<i32>, String) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&controller).expect("access to it");
    unlockpt(&controller).expect("its other side");
    let path = ptsname(&controller, Vec::new()).expect("its name").into_string().expect("a name in UTF-8");
    let screen = File::options().read(true).write(true).open(path).expect("its other side opens");
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&screen, size).expect("a terminal has a size");
    let handle = || screen.try_clone().expect("another handle");
    command.stdin(handle()).stdout(handle()).stderr(handle());
    let mut child = KillOnDrop(command.spawn().expect("kvd starts"));
    // The reader sees the end once no process holds the other side.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(screen);
    let mut controller = File::from(controller);
    // A terminal buffers typed text until a process reads it.
    controller.write_all(typed.as_bytes()).expect("somebody types");
    let reader = thread::spawn(move || {
        let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = controller.read(&mut chunk) {
            text.extend_from_slice(&chunk[..length]);
        }
        text
    });
    let code = wait_for_end(&mut child.0);
    let text = reader.join().expect("the reader does not panic");
    (code, String::from_utf8_lossy(&text).into_owned())
}
