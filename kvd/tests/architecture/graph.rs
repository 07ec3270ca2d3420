//! Imports between the files of a crate.
//!
//! A file that imports a name imports the file that defines it, through whatever module it gets the name: a module that
//! only re-exports a name does not count. A module that re-exports a name and also mentions it imports it like any
//! other.

use crate::modules::{Module, Path as ModulePath};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

/// Maximum number of steps from the use of a name to its definition; no name takes more.
const STEPS_MAX: usize = 32;

/// The modules of one crate, with their files.
pub(crate) struct Crate {
    /// By their paths from the root, which is empty.
    modules: BTreeMap<ModulePath, (Module, PathBuf)>,
}

/// For each file, the files that it imports; all of them below the folder of sources.
pub(crate) type Imports = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

impl Crate {
    /// Reads the crate whose root is this file, in this folder of sources.
    pub(crate) fn read(sources: &Path, root: &str) -> Self {
        Self::read_with(root, &|file| fs::read_to_string(sources.join(file)).ok())
    }

    /// Does the same, with `source` returning the text of each file that exists.
    fn read_with(root: &str, source: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut all = Self { modules: BTreeMap::new() };
        let text = source(Path::new(root)).expect("a root");
        all.read_file(source, PathBuf::from(root), &text, Vec::new());
        all
    }

    fn read_file(&mut self, source: &dyn Fn(&Path) -> Option<String>, file: PathBuf, text: &str, path: ModulePath) {
        let module = Module::read(text);
        // Modules declared by the root or a `mod.rs` are beside it; those of other files are in a folder with the
        // file's name.
        let is_hub = path.is_empty() || file.ends_with("mod.rs");
        let folder = if is_hub { file.parent().expect("a folder").to_owned() } else { file.with_extension("") };
        for name in &module.files {
            let mut places = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")].into_iter();
            let found = places.find_map(|place| Some((source(&place)?, place)));
            let (text, child) =
                found.unwrap_or_else(|| panic!("{} declares `{name}`, and it has no file", file.display()));
            self.read_file(source, child, &text, [&path[..], slice::from_ref(name)].concat());
        }
        self.add(module, file, path);
    }

    fn add(&mut self, mut module: Module, file: PathBuf, path: ModulePath) {
        for (name, inline) in module.inline.drain(..) {
            self.add(inline, file.clone(), [&path[..], &[name]].concat());
        }
        self.modules.insert(path, (module, file));
    }

    /// Returns all files that are part of the crate when it is not built for tests.
    pub(crate) fn files(&self) -> BTreeSet<&Path> {
        self.modules.values().map(|(_, file)| file.as_path()).collect()
    }

    /// Returns the names that a file defines.
    pub(crate) fn definitions(&self, file: &Path) -> BTreeSet<&str> {
        let modules = self.modules.values().filter(|(_, of)| of == file);
        modules.flat_map(|(module, _)| module.definitions.iter().map(String::as_str)).collect()
    }

    /// Returns the files that each file imports.
    pub(crate) fn imports(&self) -> Imports {
        let mut imports: Imports = self.files().into_iter().map(|file| (file.to_owned(), BTreeSet::new())).collect();
        for (from, (module, file)) in &self.modules {
            let is_used = |name: &str| module.mentions.iter().any(|path| path[0] == name);
            let imported = module.imports.iter().filter(|import| !import.is_public || is_used(&import.name));
            let paths = imported.map(|import| &import.path).chain(&module.mentions);
            let found = paths.filter_map(|path| self.file_of(from, path, STEPS_MAX)).filter(|found| *found != file);
            imports.entry(file.clone()).or_default().extend(found.cloned());
        }
        imports
    }

    /// Returns the file that defines the name `path` in the module `from`; `None` if that is a module, or in another
    /// crate.
    fn file_of(&self, from: &[String], path: &[String], steps: usize) -> Option<&PathBuf> {
        let steps = steps.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.below(&[], rest, steps),
            "self" => self.below(from, rest, steps),
            "super" => {
                let (_, parent) = from.split_last()?;
                let rest_below_parent = [&["self".to_owned()], rest].concat();
                self.file_of(parent, &rest_below_parent, steps)
            }
            // A name alone resolves to its import.
            _ if rest.is_empty() => None,
            _ => self.below(from, path, steps),
        }
    }

    /// Does the same for a path that begins in `module`.
    fn below(&self, module: &[String], path: &[String], steps: usize) -> Option<&PathBuf> {
        let (first, rest) = path.split_first()?;
        if first == "super" {
            return self.file_of(module, path, steps);
        }
        let inner = [module, slice::from_ref(first)].concat();
        if self.modules.contains_key(&inner) {
            return self.below(&inner, rest, steps);
        }
        let (here, file) = self.modules.get(module)?;
        if let Some(import) = here.imports.iter().find(|import| import.name == *first && import.path[..] != *path) {
            return self.file_of(module, &[&import.path[..], rest].concat(), steps);
        }
        let handed_on = here.imports.iter().filter(|import| import.name == "*");
        let mut handed_on = handed_on.map(|import| [&import.path[..], path].concat());
        match handed_on.find_map(|path| self.file_of(module, &path, steps)) {
            Some(found) => Some(found),
            None => here.definitions.contains(first).then_some(file),
        }
    }
}

/// Returns the file, or the folder that contains it at this depth. A file and the folder of the same name are one.
pub(crate) fn cut(file: &Path, depth: usize) -> PathBuf {
    file.with_extension("").components().take(depth).collect()
}

/// Returns the imports between the folders at this depth, and the files beside them.
pub(crate) fn at_depth(imports: &Imports, depth: usize) -> Imports {
    let mut folded = Imports::new();
    for (file, imported) in imports {
        let from = cut(file, depth);
        let to = imported.iter().map(|import| cut(import, depth)).filter(|to| *to != from);
        folded.entry(from.clone()).or_default().extend(to);
    }
    folded
}

/// Returns groups of files or folders that import each other in a circle.
pub(crate) fn circles(imports: &Imports) -> Vec<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        imports.keys().map(|file| (file, reach(imports, file))).collect();
    let circle_of = |file: &PathBuf| -> BTreeSet<PathBuf> {
        let others = reached[file].iter().filter(|other| reached[**other].contains(file));
        others.map(|other| (*other).clone()).collect()
    };
    let circles: BTreeSet<_> = imports.keys().map(circle_of).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().collect()
}

/// Returns the imports that no longer path implies.
pub(crate) fn without_detours(imports: &Imports) -> Vec<(&PathBuf, &PathBuf)> {
    let mut arrows = Vec::new();
    for (from, imported) in imports {
        let is_on_a_longer_way = |to: &PathBuf| imported.iter().any(|between| reach(imports, between).contains(to));
        arrows.extend(imported.iter().filter(|to| !is_on_a_longer_way(to)).map(|to| (from, to)));
    }
    arrows
}

/// Returns all files that this one imports, directly or indirectly.
fn reach<'a>(imports: &'a Imports, file: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&PathBuf> = imports[file].iter().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(&imports[file]);
        }
    }
    reached
}

#[test]
fn an_import_leads_to_the_file_that_defines_the_name() {
    let source = |file: &Path| {
        let text = match file.to_str()? {
            "lib.rs" => "mod hub; mod user; pub use user::User;",
            "hub/mod.rs" => "mod leaf; mod twin; pub use leaf::Leaf; pub use twin::*; use crate::user::helper;",
            "hub/leaf.rs" => "use super::Twin; pub struct Leaf; mod inner { fn f(leaf: super::Leaf) {} }",
            "hub/twin.rs" => "pub struct Twin; fn f() { super::leaf::Leaf::new() }",
            "user.rs" => {
                "use crate::hub::{self, Leaf as L}; pub struct User; pub fn helper() -> hub::Twin {} use std::fmt;"
            }
            _ => return None,
        };
        Some(text.to_owned())
    };
    let imports = Crate::read_with("lib.rs", &source).imports();
    let of = |file: &str| imports[Path::new(file)].iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
    assert_eq!(of("lib.rs"), [""; 0], "it only hands a name on");
    assert_eq!(of("hub/mod.rs"), ["user.rs"]);
    assert_eq!(of("hub/leaf.rs"), ["hub/twin.rs"]);
    assert_eq!(of("hub/twin.rs"), ["hub/leaf.rs"]);
    assert_eq!(of("user.rs"), ["hub/leaf.rs", "hub/twin.rs"]);
    let circle = BTreeSet::from([PathBuf::from("hub/leaf.rs"), PathBuf::from("hub/twin.rs")]);
    assert_eq!(circles(&imports), [circle]);
}
