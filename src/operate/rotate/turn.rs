//! One call of `rotate`: the stack, both keys, and the steps in their order.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kes_server::auth::KeyName;

use super::defaults::{self, Edit};
use super::left::{self, Left};
use super::pass::{Meter, Moved, Passes};
use super::record::Record;
use super::slice::Exchange;
use super::staging::Staging;
use super::{Request, check};
use crate::data::drive::{Inventory, KeyUse};
use crate::engine::Engine;
use crate::engine::process::own_program;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::guard;
use crate::operate::inventory;
use crate::operate::session::{Options, Reached, Session, bring_up};
use crate::operate::snapshot::{self, SnapshotName};
use crate::operate::without_minio::without_minio;
use crate::resource::apply::Progress;
use crate::resource::{KeyResource, Resource as _};

/// How often unfinished uploads are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// A rotation at work.
pub(super) struct Turn {
    options: Options,
    engine: Arc<dyn Engine>,
    session: Session,
    /// The key that is replaced now; on the way back it is the newer one.
    pub(super) old: KeyName,
    /// The key that replaces it now.
    pub(super) new: KeyName,
    edit: Option<Edit>,
    record: Option<Record>,
}

/// What one call exchanged, and what it left.
pub(super) struct Done {
    pub(super) moved: Moved,
    pub(super) left: Vec<Left>,
}

/// What became of the key that was replaced.
pub(super) enum End {
    /// It stays, as is wanted.
    Stays,
    /// It is gone.
    Deleted,
    /// It stays although it was to go, and why: for an upload that was under way, another round helps.
    Needed(String),
}

impl Turn {
    /// Looks at everything that could be in the way. Changes nothing, but completes what a killed call began of the servers.
    pub(super) async fn begin(reached: Reached, request: &Request, progress: &dyn Progress) -> Result<Self, Error> {
        // whoever listens goes on, and one that does not start must not end a rotation halfway
        let options = Options { launch: None, ..reached.options.clone() };
        let engine = reached.engine().clone();
        check::layout(&options.layout())?;
        reached.recover().await?;
        let record = Record::read(&options.layout())?;
        if !request.dry_run && record.as_ref().is_some_and(|record| !record.complete) {
            // it may have ended between kestack.yaml and the servers, or between two servers
            bring_up(options.clone(), engine.clone(), None, progress).await?;
        }
        let session = reached.session().await?.require_running().await?;
        session.stack.check_keystore(session.context.engine.info())?;
        check::stack(&session.stack)?;
        let (old, new) = check::keys(request, record.as_ref(), &session.context).await?;
        let edit = Edit::plan(&options, &old, &new)?;
        let turn = Self { options, engine, session, old, new, edit, record };
        drop(check::freezer(&turn.session.stack, turn.session.pod.as_ref(), &turn.program()?)?);
        Ok(turn)
    }

    /// True if kestack.yaml names the key.
    pub(super) fn edits_manifest(&self) -> bool {
        self.edit.is_some()
    }

    /// The program that wakes MinIO if kestack ends.
    fn program(&self) -> Result<PathBuf, Error> {
        match &self.options.program {
            Some(program) => Ok(program.clone()),
            None => own_program().map_err(Error::file("find", "kestack")),
        }
    }

    fn drive(&self) -> PathBuf {
        self.session.stack.layout.drive()
    }

    /// What each key protects now.
    pub(super) async fn inventory(&self) -> Result<Inventory, Error> {
        inventory::of_drive(self.drive()).await
    }

    /// Takes the snapshot and writes down what is going to be done, unless an earlier call did.
    pub(super) async fn prepare(
        &mut self,
        request: &Request,
        interrupt: &Interrupt,
        progress: &dyn Progress,
    ) -> Result<Option<SnapshotName>, Error> {
        check::writable(&self.session.stack)?;
        let layout = self.session.stack.layout.clone();
        let is_same = |record: &Record| record.old == self.old && record.new == self.new;
        let begun = self.record.take().filter(|record| request.undo || is_same(record));
        let mut record = match begun {
            Some(begun) => begun,
            None => self.first(request, interrupt, progress).await?,
        };
        record.complete = false;
        record.write(&layout)?;
        let name = record.snapshot.clone();
        self.record = Some(record);
        Ok(name)
    }

    /// The record of a rotation that begins.
    async fn first(&self, request: &Request, interrupt: &Interrupt, progress: &dyn Progress) -> Result<Record, Error> {
        let name = if request.snapshot { Some(self.snapshot(interrupt, progress).await?) } else { None };
        Ok(Record::new(&self.old, &self.new, name, self.is_new().await?))
    }

    /// True if KES does not have the new key yet.
    async fn is_new(&self) -> Result<bool, Error> {
        match self.session.context.kes.describe_key(self.new.as_str()).await {
            Err(error) if error.is_key_not_found() => Ok(true),
            described => Ok(described.map(|_| false)?),
        }
    }

    async fn snapshot(&self, interrupt: &Interrupt, progress: &dyn Progress) -> Result<SnapshotName, Error> {
        let name = SnapshotName::before("rotation");
        let Session { stack, context, .. } = &self.session;
        snapshot::save(stack, context, &name, interrupt, progress).await?;
        Ok(name)
    }

    /// Makes the new key, and the default wherever the former one was. Says how long MinIO was away for that.
    pub(super) async fn settle_defaults(
        &mut self,
        before: &Inventory,
        progress: &dyn Progress,
    ) -> Result<Option<Duration>, Error> {
        self.make_new(before).await?;
        let (start, edit) = (Instant::now(), self.edit.take());
        let is_edited = edit.is_some();
        if let Some(edit) = edit {
            edit.make(&mut self.options)?;
            let (stack, _) = bring_up(self.options.clone(), self.engine.clone(), None, progress).await?;
            self.session.context = stack.context(self.engine.clone())?;
            self.session.stack = stack;
        }
        let away = is_edited.then(|| start.elapsed());
        // the snapshot has started another process as well
        self.session.pod = self.engine.pod(self.options.manifest.name.as_str()).await?;
        defaults::buckets(&self.session.context.s3, &self.old, &self.new).await?;
        Ok(away)
    }

    /// Makes the new key, if it is not there.
    async fn make_new(&self, before: &Inventory) -> Result<(), Error> {
        let Session { stack, context, .. } = &self.session;
        let is_new = self.is_new().await?;
        let is_needed = before.keys.get(self.new.as_str()).is_some_and(KeyUse::protects);
        if is_new && !is_needed && !stack.layout.is_exported() {
            // the record may know one of that name which was deleted since, of other material
            guard::forget(stack, &self.new)?;
        }
        KeyResource { key: self.new.clone() }.create(context).await?;
        guard::remember(stack, context, self.new.as_str()).await
    }

    /// Exchanges every data key, and names what is left.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        before: &Inventory,
        interrupt: &Interrupt,
        meter: &dyn Meter,
    ) -> Result<Done, Error> {
        let Session { stack, context, pod, .. } = &self.session;
        let drive = self.drive();
        let staging = Staging::make(&drive)?;
        let exchange = Exchange { kes: &context.kes, old: &self.old, new: &self.new, drive: &drive, staging: &staging };
        let total = before.keys.get(self.old.as_str()).map(|used| used.total().versions + used.minio_files);
        let mut passes = Passes {
            exchange,
            freezer: Arc::new(check::freezer(stack, pod.as_ref(), &self.program()?)?),
            slice: request.slice.max(1),
            interrupt,
            meter,
            total: total.unwrap_or_default(),
            moved: Moved::default(),
        };
        let ran = self.passes(&mut passes, request.wait).await;
        let moved = std::mem::take(&mut passes.moved);
        drop(passes);
        let (stuck, inventory) = ran.and_then(|ran| staging.clone().remove().map(|()| ran))?;
        let left = left::after(&inventory, stuck, &drive, &self.old, &context.s3).await?;
        Ok(Done { moved, left })
    }

    /// Passes until nothing is found, and again while unfinished uploads are waited for; and what the drive holds then.
    async fn passes(&self, passes: &mut Passes<'_>, wait: Duration) -> Result<(BTreeSet<Left>, Inventory), Error> {
        let start = Instant::now();
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let stuck = passes.run().await?;
            let inventory = self.inventory().await?;
            let waits = inventory.keys.get(self.old.as_str()).is_some_and(|used| used.uploads > 0);
            if !waits || start.elapsed() >= wait {
                return Ok((stuck, inventory));
            }
            passes.interrupt.check()?;
        }
    }

    /// Ends a rotation that left nothing, and deletes the key that was replaced on request. MinIO is stopped while it goes:
    /// the data key of an object is sealed when its upload begins, and the drive shows it at the end.
    ///
    /// # Errors
    /// Those of the servers, the engine and the file system.
    pub(super) async fn end(&mut self, request: &Request, progress: &dyn Progress) -> Result<End, Error> {
        let Session { stack, context, .. } = &self.session;
        if let Some(record) = &mut self.record {
            record.complete = true;
            record.write(&stack.layout)?;
        }
        if !request.delete_old {
            if request.undo {
                Record::forget(&stack.layout)?;
            }
            return Ok(End::Stays);
        }
        // MinIO goes on if the key must stay anyway
        if let Err(Error::Guard(why)) = self.unused() {
            return Ok(End::Needed(why));
        }
        let ended = without_minio(stack, context, progress, self.delete()).await;
        self.session.pod = self.engine.pod(self.options.manifest.name.as_str()).await?;
        ended
    }

    fn unused(&self) -> Result<(), Error> {
        guard::require_unused(&self.session.stack, std::slice::from_ref(&self.old))
    }

    /// Deletes the key, unless an upload that has ended by now needs it. A kill leaves at most a key that nothing needs.
    async fn delete(&self) -> Result<End, Error> {
        let Session { stack, context, .. } = &self.session;
        match self.unused() {
            Err(Error::Guard(why)) => return Ok(End::Needed(why)),
            unused => unused?,
        }
        Record::forget(&stack.layout)?;
        guard::forget(stack, &self.old)?;
        context.replicas.delete_key(self.old.as_str()).await?;
        Ok(End::Deleted)
    }
}
