//! Events, facts, dead letters.

use async_trait::async_trait;
use domain::limits::{ATTEMPT_RETENTION, DEAD_LETTER_RETENTION, DEAD_LETTERS_READ_MAX};
use domain::{
    AttemptId, DeadLetter, DeadLetterId, EndpointUid, EventId, EventRef, Fact, FactKind,
    Resolution, RunId, TenantId, Timestamp,
};
use ports::{
    DeadLetterFilter, DeadLetterKey, DeadLetterPage, DeadLetterStore, EventStore, Loaded,
    StoredEvent, Taken,
};

use super::{Dead, KEEP_BODY, MemoryStore, State, is_young};

#[async_trait]
impl EventStore for MemoryStore {
    async fn put_events(&self, events: &[StoredEvent]) -> ports::Result<()> {
        self.write(|state, now| {
            for stored in events {
                let entry = state.events.entry(stored.at.clone());
                let (_, keep) = entry.or_insert_with(|| (stored.clone(), now));
                *keep = (now + KEEP_BODY).max(*keep);
            }
        })
    }

    async fn record(&self, facts: &[Fact]) -> ports::Result<()> {
        self.write(|state, _| {
            for fact in facts {
                let key = (fact.event.clone(), fact.endpoint, fact.run, fact.id);
                state.facts.entry(key).or_insert_with(|| fact.clone());
            }
        })
    }

    async fn load(&self, event: &EventRef, endpoint: EndpointUid) -> ports::Result<Loaded> {
        self.read(|state, now| {
            let least = AttemptId::from_slice(&[0; 16]).expect("16 bytes");
            let facts = state.facts.range((event.clone(), endpoint, RunId::LOG, least)..);
            let facts = facts.map(|(_, fact)| fact);
            let mine = facts.take_while(|fact| fact.event == *event && fact.endpoint == endpoint);
            Loaded {
                event: state.events.get(event).map(|(stored, _)| stored.event.clone()),
                facts: mine
                    .filter(|fact| is_young(fact.time, ATTEMPT_RETENTION, now))
                    .cloned()
                    .collect(),
            }
        })
    }

    async fn find(&self, tenant: &TenantId, event: &EventId) -> ports::Result<Option<StoredEvent>> {
        self.read(|state, _| {
            let stored = state.events.values().map(|(stored, _)| stored);
            let mine =
                stored.filter(|stored| stored.at.tenant == *tenant && stored.at.id == *event);
            mine.max_by_key(|stored| stored.at.at).cloned()
        })
    }

    async fn facts(
        &self,
        tenant: &TenantId,
        event: &EventId,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.read(|state, now| {
            let mut facts = young(state, now);
            facts.retain(|fact| fact.event.tenant == *tenant && fact.event.id == *event);
            facts.sort_by_key(|fact| (fact.time, fact.id));
            facts.into_iter().take(limit).cloned().collect()
        })
    }

    async fn attempts_of_endpoint(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.read(|state, now| {
            let key = |fact: &Fact| (fact.time, fact.id.uuid().as_u128());
            let mut facts = young(state, now);
            facts.retain(|fact| {
                fact.endpoint == endpoint
                    && matches!(fact.kind, FactKind::Attempt(_))
                    && before.is_none_or(|before| key(fact) < before)
            });
            facts.sort_by_key(|fact| std::cmp::Reverse(key(fact)));
            facts.into_iter().take(limit).cloned().collect()
        })
    }
}

fn young(state: &State, now: Timestamp) -> Vec<&Fact> {
    let facts = state.facts.values();
    facts.filter(|fact| is_young(fact.time, ATTEMPT_RETENTION, now)).collect()
}

#[async_trait]
impl DeadLetterStore for MemoryStore {
    async fn put(&self, letters: &[DeadLetter]) -> ports::Result<()> {
        self.write(|state, _| {
            for letter in letters {
                let keep_until = letter.time + DEAD_LETTER_RETENTION + KEEP_BODY;
                if let Some((_, keep)) = state.events.get_mut(&letter.event) {
                    *keep = keep_until.max(*keep);
                }
                let key = (letter.endpoint, letter.id);
                let dead = state.dead_letters.entry(key).or_insert_with(|| Dead {
                    letter: letter.clone(),
                    resolution: None,
                    runs: Vec::new(),
                });
                if dead.runs.contains(&letter.run) {
                    continue;
                }
                dead.runs.push(letter.run);
                dead.letter = letter.clone();
                dead.resolution = None;
            }
        })
    }

    async fn get(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
    ) -> ports::Result<Option<(DeadLetter, Option<Resolution>)>> {
        self.read(|state, now| {
            let dead = state.dead_letters.get(&(endpoint, id));
            let dead = dead.filter(|dead| dead.is_shown(now) && dead.letter.tenant == *tenant)?;
            Some((dead.letter.clone(), dead.resolution))
        })
    }

    async fn list(
        &self,
        endpoint: EndpointUid,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> ports::Result<DeadLetterPage> {
        self.read(|state, now| {
            let mut dead: Vec<&Dead> = state.dead_letters.values().collect();
            dead.retain(|dead| {
                dead.letter.endpoint == endpoint && before.is_none_or(|before| dead.key() < before)
            });
            dead.sort_by_key(|dead| std::cmp::Reverse(dead.key()));
            let mut page = DeadLetterPage::default();
            for (read, dead) in dead.into_iter().enumerate() {
                if page.letters.len() == limit || read == DEAD_LETTERS_READ_MAX {
                    return page;
                }
                if dead.is_shown(now) && has(filter, &dead.letter) {
                    page.letters.push((dead.letter.clone(), dead.resolution));
                }
                page.next = Some(dead.key());
            }
            DeadLetterPage { next: None, ..page }
        })
    }

    async fn begin_redrive(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<Taken> {
        self.write(|state, now| {
            let dead = state.dead_letters.get_mut(&(endpoint, id));
            let dead = dead.filter(|dead| dead.is_shown(now) && dead.letter.tenant == *tenant);
            let Some(dead) = dead else {
                return Taken::NotFound;
            };
            match dead.resolution {
                Some(Resolution::Redriving(other)) if other != run => return Taken::InProgress,
                Some(_) => {}
                // A late repeat of a redrive that has failed since takes nothing.
                None if dead.runs.contains(&run) => {}
                None => dead.resolution = Some(Resolution::Redriving(run)),
            }
            Taken::Ours(Box::new(dead.letter.clone()))
        })
    }

    async fn resolve(
        &self,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<()> {
        self.write(|state, _| {
            if let Some(dead) = state.dead_letters.get_mut(&(endpoint, id))
                && dead.resolution == Some(Resolution::Redriving(run))
            {
                dead.resolution = Some(Resolution::Resolved);
            }
        })
    }
}

fn has(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    filter.reason.is_none_or(|reason| letter.reason == reason)
        && filter.since.is_none_or(|since| letter.time >= since)
        && filter.until.is_none_or(|until| letter.time < until)
}

impl Dead {
    fn key(&self) -> DeadLetterKey {
        (self.letter.time, self.letter.id)
    }

    fn is_shown(&self, now: Timestamp) -> bool {
        self.resolution != Some(Resolution::Resolved)
            && is_young(self.letter.time, DEAD_LETTER_RETENTION, now)
    }
}
