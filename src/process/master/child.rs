//! What a child takes with it when it is forked.

use std::rc::Rc;

use crate::control::supervisor::COMPILER_SLOT;
use crate::failure::Failure;
use crate::host::arena::Arena;
use crate::host::doorbell::Doorbell;
use crate::host::open_files::OpenFiles;
use crate::process::admin::AdminArgs;
use crate::process::compiler::CompilerArgs;
use crate::process::logger::LoggerArgs;
use crate::process::worker::WorkerArgs;
use crate::process::{begin_role, failed, listen};
use crate::scoreboard::Role;

use super::Master;

/// What a child of the master is.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart")]
pub(in crate::process) enum ChildRole<'c> {
    Compiler(CompilerArgs<'c>, Arena),
    Worker(WorkerArgs),
    Admin(AdminArgs<'c>),
    Logger(LoggerArgs),
}

impl<'c> Master<'c> {
    /// In a child: keeps what its role needs, and drops the rest.
    pub(super) fn into_child(
        mut self,
        role: Role,
        number: usize,
    ) -> Result<ChildRole<'c>, Failure> {
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
                ChildRole::Logger(LoggerArgs { read_ends, style, board, slot, doorbell })
            }
            Role::Admin => {
                let listener = self.admin.take().ok_or_else(|| Failure::system("no admin port"))?;
                let (doorbell, compiler) = own_and_compilers(doorbells, number);
                ChildRole::Admin(AdminArgs {
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
                ChildRole::Compiler(args, self.arena)
            }
            Role::Worker | Role::Master => {
                let (doorbell, compiler) = own_and_compilers(doorbells, number);
                ChildRole::Worker(WorkerArgs {
                    board,
                    slot,
                    arena: self.arena.into_reader().map_err(failed("cannot map the arena"))?,
                    files: OpenFiles::new(config.root.clone(), self.root, allowance.open_files_max),
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

/// A child's own doorbell, and the compiler's, which it rings.
fn own_and_compilers(mut doorbells: Vec<Doorbell>, number: usize) -> (Doorbell, Doorbell) {
    // The higher number first: taking one moves the last to its place.
    let own = doorbells.swap_remove(number);
    (own, doorbells.swap_remove(COMPILER_SLOT))
}
