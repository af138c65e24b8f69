//! Losses and recoveries, all of them in the copy.

use std::path::{Path, PathBuf};
use std::time::Instant;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use jiff::Timestamp;

use super::witness::{Comparison, Witnesses};
use super::{Drill, LEASE};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::clear;
use crate::operate::copies::{FILE, IDENTITY};
use crate::operate::evidence::{Claim, Loss, Lost, milliseconds};
use crate::operate::session::{bring_up, restore};
use crate::operate::snapshot::archive::{self, Exported, Opener, Seal};
use crate::resource::FileResource;
use crate::servers::s3::S3Client;
use crate::stack::Stack;

impl Drill<'_> {
    /// Loses and recovers the machine, then the keystore, then drive and keystore.
    pub(super) async fn recover(&mut self, witnesses: &Witnesses) -> Result<(), Error> {
        let identity = self.export().await?;
        let has_keys = self.source.stack.manifest.keystore_is_fs();
        let losses: &[Lost] = if has_keys {
            &[Lost::Machine, Lost::Keystore, Lost::DriveAndKeystore]
        } else {
            &[Lost::Machine, Lost::Drive]
        };
        for lost in losses {
            self.lose(*lost).await?;
            let (age, clock) = (self.age(), Instant::now());
            let back = self.back(*lost, &identity).await;
            let time = milliseconds(clock);
            match back {
                Ok(s3) => {
                    let found = self.compare(&s3, witnesses).await?;
                    let seen = found.to_string();
                    self.note(*lost, age, Some(time), found.shows_all(witnesses.count()), seen, found);
                }
                Err(error) => {
                    // nothing came back
                    let nothing = Comparison { missing_count: witnesses.count(), ..Comparison::default() };
                    self.note(*lost, age, None, false, error.to_string(), nothing);
                    return Err(error);
                }
            }
            if *lost == Lost::Machine {
                self.compare_keys().await?;
            }
        }
        Ok(())
    }

    /// Writes the snapshot to a file, encrypted for a key that only this drill has.
    async fn export(&mut self) -> Result<PathBuf, Error> {
        let (file, path) = (self.place.folder.join(FILE), self.place.folder.join(IDENTITY));
        let identity = Identity::generate();
        FileResource::private(&path, identity.to_string().expose_secret().as_bytes()).make()?;
        let seal = Seal::Recipients(vec![identity.to_public()]);
        let (layout, name) = (self.source.stack.layout.clone(), self.snapshot.name.clone());
        let (interrupt, shown) = (self.interrupt.clone(), file.clone());
        let work = blocking("write", &shown, move || archive::export(&layout, &name, &file, seal, &interrupt));
        let exported: Exported = self.steps.take("export the snapshot to one encrypted file", work).await?;
        self.claims.push(Claim {
            about: "the exported file".into(),
            claim: "it holds the complete snapshot, and is encrypted".into(),
            proven: exported.encrypted,
            seen: format!("{} files, {} bytes; sha256 {}", self.snapshot.files, exported.size, exported.sha256),
        });
        Ok(path)
    }

    /// Takes something away from the copy.
    async fn lose(&mut self, lost: Lost) -> Result<(), Error> {
        let layout = self.place.layout();
        let folders = match lost {
            Lost::Machine => return Ok(()),
            Lost::Keystore => vec![layout.keys()],
            Lost::Drive => vec![layout.drive()],
            Lost::DriveAndKeystore => vec![layout.drive(), layout.keys()],
        };
        let place = &self.place;
        let losing = async {
            place.stop().await?;
            let remove = move || folders.iter().try_for_each(|folder| clear(folder));
            Ok(blocking("remove", layout.root(), remove).await?)
        };
        self.steps.take(&format!("lose {lost} of the copy"), losing).await?;
        if lost == Lost::Keystore { self.without_keys().await } else { Ok(()) }
    }

    /// That the loss is real: without its keys the copy does not start.
    async fn without_keys(&mut self) -> Result<(), Error> {
        let options = self.place.reached.options.clone();
        let work = bring_up(options, self.place.reached.engine().clone(), lease(), self.progress);
        let (proven, seen) = match Box::pin(self.interrupt.ends(work)).await {
            Err(Error::Guard(why)) => (true, why),
            Err(error @ Error::Interrupted(_)) => return Err(error),
            Err(error) => (false, error.to_string()),
            Ok(_) => (false, "it started".into()),
        };
        let seen = seen.lines().next().unwrap_or_default().to_owned();
        let claim = "without its keys the copy does not start on its data".into();
        self.claims.push(Claim { about: Lost::Keystore.to_string(), claim, proven, seen });
        // a restore would start again what runs
        self.place.stop().await
    }

    /// Brings the copy back from the exported file, or from the snapshot that was made of it; a client of its S3.
    async fn back(&mut self, lost: Lost, identity: &Path) -> Result<S3Client, Error> {
        let (layout, name) = (self.place.layout(), self.snapshot.name.clone());
        if lost == Lost::Machine {
            let (file, opener) = (self.place.folder.join(FILE), Opener::Identities(vec![identity.to_owned()]));
            let (interrupt, shown) = (self.interrupt.clone(), file.clone());
            let work =
                blocking("read", &shown, move || archive::import(&layout, &file, None, opener, false, &interrupt));
            self.steps.take("recover from the loss of the machine: unpack the exported file", work).await?;
        }
        let reached = &self.place.reached;
        let work = restore(reached, &name, self.interrupt, self.progress);
        self.steps.take(&format!("recover from the loss of {lost}: restore the snapshot"), Box::pin(work)).await?;
        self.place.silence().await?;
        let (options, engine) = (reached.options.clone(), reached.engine().clone());
        let work = self.interrupt.ends(bring_up(options, engine.clone(), lease(), self.progress));
        let step = format!("recover from the loss of {lost}: start KES and MinIO, store and read an object");
        let (stack, _): (Stack, _) = self.steps.take(&step, Box::pin(work)).await?;
        Ok(stack.context(engine)?.s3)
    }

    async fn compare(&mut self, s3: &S3Client, witnesses: &Witnesses) -> Result<Comparison, Error> {
        let drive = self.snapshot.drive(&self.source.stack.layout);
        let work = witnesses.compare(s3, &drive, self.interrupt);
        self.steps.take("compare every version with the running stack", work).await
    }

    /// Notes a loss that took place, and what came back.
    fn note(&mut self, lost: Lost, age: u64, time: Option<u64>, proven: bool, seen: String, found: Comparison) {
        let claim = "every version of the snapshot came back unchanged".into();
        self.claims.push(Claim { about: lost.to_string(), claim, proven, seen });
        self.losses.push(Loss {
            lost,
            recovery_milliseconds: time,
            recovery_point: self.snapshot.created,
            recovery_point_age_milliseconds: age,
            versions: found.same,
            bytes: found.bytes,
            missing_count: found.missing_count,
            missing: found.missing,
        });
    }

    /// How old the snapshot is, in milliseconds.
    fn age(&self) -> u64 {
        let age = Timestamp::now().as_millisecond().saturating_sub(self.snapshot.created.as_millisecond());
        u64::try_from(age).unwrap_or_default()
    }
}

/// When the copy may be removed by `kestack gc`, if the drill is killed.
fn lease() -> Option<Timestamp> {
    Timestamp::now().checked_add(LEASE).ok()
}
