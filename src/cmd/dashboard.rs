//! The dashboard of a run: drawn over the whole terminal while the run lasts, which is then as it was before.

mod draw;
mod so_far;
mod state;

use self::draw::{DashboardLook, SMALLEST, draw};
use self::state::RunState;
use super::console;
use crate::panics;
use crate::plan::Plan;
use crate::run::faults::ByHand;
use crate::snapshots::Subscription;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use std::io::{self, IsTerminal, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

/// Between two looks at the keys.
const KEYS_EVERY: Duration = Duration::from_millis(50);
/// Snapshots that wait to be drawn.
const WAITING_MAX: usize = 4;

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether the process was stopped meanwhile: a shell has written to the terminal since.
static RESUMED: AtomicBool = AtomicBool::new(false);

/// After SIGCONT.
pub(super) fn resumed() {
    RESUMED.store(true, Ordering::SeqCst);
}

/// Whether a dashboard can be drawn on stderr: a terminal that can do more than print, is large enough, and obeys this process.
pub(super) fn is_possible() -> bool {
    let stderr = io::stderr();
    let large = terminal_size::terminal_size_of(&stderr).is_some_and(|(width, height)| width.0 >= SMALLEST.0 && height.0 >= SMALLEST.1);
    large && stderr.is_terminal() && is_foreground()
}

/// In the background a process that changes the terminal is stopped.
fn is_foreground() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group == getpgrp())
}

/// Gives the terminal back, whoever has to leave now. Does nothing where it was not taken.
pub(super) fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // There may be no terminal any more.
        let _ = disable_raw_mode();
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    }
}

/// The terminal, until this is dropped.
struct TakenTerminal(Terminal<CrosstermBackend<Stderr>>);

impl TakenTerminal {
    fn take() -> io::Result<TakenTerminal> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        execute!(io::stderr(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stderr())))
            .map(TakenTerminal)
            .inspect_err(|_| restore())
    }

    /// Takes it again, and draws all of it anew.
    fn take_again(&mut self) -> io::Result<()> {
        // Only what is off can be turned on.
        disable_raw_mode()?;
        enable_raw_mode()?;
        execute!(io::stderr(), EnterAlternateScreen)?;
        self.0.clear()
    }
}

impl Drop for TakenTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Draws until the stream ends or the terminal is gone.
pub(super) struct Dashboard {
    run: RunState,
    look: DashboardLook,
    by_hand: Option<ByHand>,
}

impl Dashboard {
    pub(super) fn new(plan: &Plan, by_hand: Option<ByHand>) -> Dashboard {
        let fires = if by_hand.is_some() { plan.faults.len().min(9) } else { 0 };
        let look = DashboardLook { colour: console::colours_allowed(), paused: false, stopping: false, fires };
        Dashboard { run: RunState::of(plan), look, by_hand }
    }

    /// Blocks its thread. Where the terminal cannot be used, nothing is shown.
    pub(super) fn show(mut self, mut updates: Subscription) {
        let (sender, waiting) = mpsc::sync_channel(WAITING_MAX);
        // Waits for snapshots while the other one waits for keys.
        let forward = move || {
            while let Some(update) = updates.wait() {
                if sender.send(update).is_err() {
                    return;
                }
            }
        };
        if thread::Builder::new().name("snapshots".to_owned()).spawn(forward).is_err() {
            return;
        }
        // The run goes on without it, and with it.
        let _ = TakenTerminal::take().and_then(|mut terminal| self.draw_until_end(&mut terminal, &waiting));
    }

    fn draw_until_end(&mut self, terminal: &mut TakenTerminal, waiting: &Receiver<crate::snapshots::Update>) -> io::Result<()> {
        let mut changed = true;
        loop {
            loop {
                match waiting.try_recv() {
                    Ok(update) => {
                        panics::asked(format_args!("dashboard"));
                        self.run.add(update);
                        changed |= !self.look.paused;
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            // Somebody else has given the terminal back, and leaves.
            if !TAKEN.load(Ordering::SeqCst) {
                return Ok(());
            }
            if RESUMED.swap(false, Ordering::SeqCst) && is_foreground() {
                terminal.take_again()?;
                changed = true;
            }
            if changed {
                terminal.0.draw(|frame| draw(frame, &self.run, self.look))?;
            }
            changed = event::poll(KEYS_EVERY)? && self.obey(&event::read()?);
        }
    }

    /// Whether there is something to draw.
    fn obey(&mut self, event: &Event) -> bool {
        match event {
            Event::Resize(..) => true,
            Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => {
                let control = modifiers.contains(KeyModifiers::CONTROL);
                match code {
                    KeyCode::Char('c') if control => self.stop(),
                    KeyCode::Char('q') if !control && !self.look.stopping => self.stop(),
                    KeyCode::Char(digit @ '1'..='9') if !control && !self.look.stopping => {
                        let place = u16::from(*digit as u8 - b'1');
                        self.by_hand.iter().filter(|_| usize::from(place) < self.look.fires).for_each(|by_hand| by_hand.fire(place));
                    }
                    KeyCode::Char('p') if !control => self.look.paused = !self.look.paused,
                    _ => return false,
                }
                true
            }
            _ => false,
        }
    }

    /// As Ctrl-C does where no dashboard is.
    fn stop(&mut self) {
        self.look.stopping = true;
        // A process may always signal itself.
        let _ = kill(Pid::this(), Signal::SIGINT);
    }
}
