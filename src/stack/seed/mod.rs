//! Declared content: what `seed:` in kestack.yaml says that a stack holds from its start. [`Content`] is what that means on
//! this host, read before anything is touched; [`stages`] makes it in a stack that serves, and leaves alone what is as
//! declared. What is not declared any more is named, never removed.

use crate::resource::apply::Stage;
use crate::resource::{DirectoryResource, Owner, Resource};
use crate::stack::Stack;

mod command;
mod content;
mod credentials;
mod declared;
mod objects;
mod record;
mod undeclared;

use command::CommandResource;
pub use content::Content;
pub(crate) use content::check;
use credentials::Accounts;
use declared::{Declared, How};
use objects::ObjectsResource;
pub(crate) use record::SeedRecord;
use undeclared::Undeclared;

/// The content of a stack, in the order in which it can be made; nothing if nothing was ever declared.
pub(crate) fn stages(stack: &Stack) -> Vec<Stage> {
    let seed = &stack.manifest.seed;
    if seed.is_left_alone || seed.is_empty() && !stack.layout.seed().exists() {
        return vec![];
    }
    let accounts = Accounts::of(stack);
    let declared = |how: How| Box::new(Declared::new(stack, how)) as Box<dyn Resource>;
    let policies =
        stack.seed.policies.iter().map(|(name, policy)| How::Policy { name: name.clone(), policy: policy.clone() });
    let folder = DirectoryResource::new(stack.layout.credentials(), Owner::Caller);
    let mut first: Vec<_> = policies.map(declared).collect();
    first.extend((!accounts.is_empty()).then(|| Box::new(folder) as Box<dyn Resource>));
    let mut second: Vec<_> = accounts.users().map(declared).collect();
    second.extend(accounts.files(stack).into_iter().map(|file| Box::new(file) as Box<dyn Resource>));
    let mut third: Vec<_> = accounts.access_keys(stack).map(declared).collect();
    third.extend(declared::lifecycle(seed).map(declared));
    third.extend(
        stack.seed.folders.iter().map(|folder| Box::new(ObjectsResource::new(stack, folder)) as Box<dyn Resource>),
    );
    // not with other settings of a bucket: of two changes at once MinIO may lose one
    let fourth: Vec<_> = declared::notifications(seed).map(declared).collect();
    let mut last: Vec<Box<dyn Resource>> = vec![Box::new(Undeclared::of(stack))];
    if let Some(run) = &seed.run {
        last.push(Box::new(CommandResource::new(stack, run)));
    }
    [first, second, third, fourth, last].into_iter().filter(|stage| !stage.is_empty()).map(Stage).collect()
}
