//! Which commands the engine has been given: the inbox gives one again until it is done.

use std::collections::{BTreeSet, VecDeque};

use domain::{Command, CommandId, Shard};

/// Commands that are remembered, so that a repeat does nothing.
const COMMANDS_REMEMBERED: usize = 10_000;

/// Commands that the engine has been given, the newest.
#[derive(Default)]
pub(super) struct Seen {
    commands: BTreeSet<(Shard, CommandId)>,
    in_order: VecDeque<(Shard, CommandId)>,
}

impl Seen {
    /// Whether a command is new; a repeat of one that is being done is not.
    pub(super) fn is_new(&mut self, command: &Command) -> bool {
        let key = (command.shard, command.id);
        if !self.commands.insert(key) {
            return false;
        }
        self.in_order.push_back(key);
        if self.in_order.len() > COMMANDS_REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.commands.remove(&oldest);
        }
        true
    }

    /// A shard was given up: what of its commands was on its way is dropped, and is new to whoever owns it next, also when that is us.
    pub(super) fn forget(&mut self, shard: Shard) {
        self.commands.retain(|(of, _)| *of != shard);
        self.in_order.retain(|(of, _)| *of != shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{CommandKind, EndpointUid, RunId, TenantId, Timestamp};

    #[test]
    fn a_command_of_a_shard_that_was_given_up_is_new_again() {
        let command = |shard| Command {
            id: CommandId(RunId::LOG.uuid()),
            shard: Shard(shard),
            time: Timestamp::ZERO,
            tenant: TenantId::default_tenant(),
            endpoint: EndpointUid::from_uuid(RunId::LOG.uuid()),
            kind: CommandKind::Probe,
        };
        let mut seen = Seen::default();
        assert!(seen.is_new(&command(1)) && seen.is_new(&command(2)));
        assert!(!seen.is_new(&command(1)));
        seen.forget(Shard(1));
        assert_eq!((seen.is_new(&command(1)), seen.is_new(&command(2))), (true, false));
    }
}
