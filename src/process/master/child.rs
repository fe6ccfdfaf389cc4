//! What a child takes with it when it is forked.

use std::rc::Rc;

use crate::control::supervisor::COMPILER_SLOT;
use crate::failure::Failure;
use crate::host::arena::Arena;
use crate::host::open_files::OpenFiles;
use crate::process::compiler::CompilerArgs;
use crate::process::worker::WorkerArgs;
use crate::process::{admin, begin_role, failed, listen, logger};
use crate::scoreboard::Role;

use super::Master;

/// What a child of the master is.
pub(in crate::process) enum Birth<'c> {
    Compiler(CompilerArgs<'c>, Arena),
    Worker(WorkerArgs),
    Admin(admin::Seat<'c>),
    Logger(logger::Seat),
}

impl<'c> Master<'c> {
    /// In a child: keeps what its role needs, and drops the rest.
    pub(super) fn into_child(mut self, role: Role, number: usize) -> Result<Birth<'c>, Failure> {
        begin_role(role, self.pid)?;
        self.shared.protect_for(role, number).map_err(failed("cannot share memory"))?;
        let (board, slot) = (self.board, self.board.own_slot(number));
        let log = Rc::new(self.log.of_child(slot)?);
        let (config, allowance, started) = (self.config, self.allowance, self.started);
        let mut doorbells = self.doorbells;
        Ok(match role {
            Role::Logger => {
                let (read_ends, style) = (self.read_ends, log.style);
                let doorbell = doorbells.swap_remove(number);
                Birth::Logger(logger::Seat { read_ends, style, board, slot, doorbell })
            }
            Role::Admin => {
                let listener = self.admin.take().ok_or_else(|| Failure::system("no admin port"))?;
                // The higher number first: taking one moves the last to its place.
                let doorbell = doorbells.swap_remove(number);
                let compiler = doorbells.swap_remove(COMPILER_SLOT);
                Birth::Admin(admin::Seat {
                    config,
                    board,
                    slot,
                    listener,
                    doorbell,
                    compiler,
                    allowance,
                    started,
                })
            }
            Role::Compiler => {
                let addresses = self.listeners.iter().filter_map(|one| one.local_addr().ok());
                let args = CompilerArgs {
                    config,
                    allowance,
                    root: self.root,
                    started,
                    board,
                    slot,
                    doorbells,
                    own_doorbell: number,
                    log,
                    addresses: addresses.collect(),
                    admin_url: self.admin.as_ref().and_then(listen::url_of),
                };
                Birth::Compiler(args, self.arena)
            }
            Role::Worker | Role::Master => {
                let doorbell = doorbells.swap_remove(number);
                let compiler = doorbells.swap_remove(COMPILER_SLOT);
                let files_max = allowance.open_files_max;
                Birth::Worker(WorkerArgs {
                    board,
                    slot,
                    arena: self.arena.into_reader().map_err(failed("cannot map the arena"))?,
                    files: OpenFiles::new(config.root.clone(), self.root, files_max),
                    extra: config.extra.clone(),
                    health: config.health,
                    started,
                    access_log: self.access_log,
                    trusted: config.trusted_proxies.clone(),
                    has_preface: config.proxy_protocol,
                    listeners: self.listeners,
                    connections_max: allowance.connections_max,
                    doorbell,
                    compiler,
                    drain_timeout: config.drain_timeout,
                })
            }
        })
    }
}
