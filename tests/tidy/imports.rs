//! Which file of `src` uses which, read from the syntax: `use` items, and paths anywhere else, in macros too.
//!
//! A re-export is no use: who imports a name through it uses the file that defines the name. What is compiled for tests only is left out.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::{Attribute, Item, UseTree, Visibility};

/// A path of names from the root of the crate: `["ws", "frame"]` for `src/ws/frame.rs`.
type Names = Vec<String>;

/// All files, what each defines, and what each uses.
pub(crate) struct Imports {
    files: BTreeMap<Names, Source>,
}

#[derive(Default)]
struct Source {
    /// Names of types that it defines.
    types: BTreeSet<String>,
    /// Names that it hands on, and what they stand for.
    reexports: BTreeMap<String, Names>,
    /// What it imports under which name.
    imports: BTreeMap<String, Names>,
    /// All paths in it, as written.
    paths: BTreeSet<Names>,
}

impl Imports {
    /// Of files, by their paths below `src`.
    pub(crate) fn read<'a>(sources: impl Iterator<Item = (&'a Path, String)>) -> Imports {
        let mut for_tests = BTreeSet::new();
        let mut files = BTreeMap::new();
        for (path, text) in sources {
            let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let (file, mut source) = (module(path), Source::default());
            source.items(&parsed.items);
            for_tests.extend(modules_for_tests(&parsed.items).map(|name| [file.as_slice(), &[name]].concat()));
            files.insert(file, source);
        }
        files.retain(|file: &Names, _| !for_tests.iter().any(|tests: &Names| file.starts_with(tests)));
        Imports { files }
    }

    /// Whether a file below `src` is part of the program, and not of its tests only.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.files.contains_key(&module(path))
    }

    /// Which file uses which others.
    pub(crate) fn edges(&self) -> BTreeMap<String, BTreeSet<String>> {
        let edges = self.files.iter().map(|(from, source)| {
            let written = source.paths.iter().chain(source.imports.values());
            let used = written.filter_map(|path| self.find(from, path)).filter(|to| to != from && !to.is_empty());
            (name(from), used.map(|to| name(&to)).collect())
        });
        edges.collect()
    }

    /// Groups of files that use each other in a circle.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<String>> {
        let edges = self.edges();
        let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|from| (from.as_str(), reach(&edges, from))).collect();
        let mut circles: BTreeSet<BTreeSet<String>> = BTreeSet::new();
        for (from, to) in &reached {
            let mutual = to.iter().filter(|other| reached.get(**other).is_some_and(|back| back.contains(from)));
            let circle: BTreeSet<String> = mutual.map(|other| (*other).to_owned()).collect();
            circles.extend((!circle.is_empty()).then_some(circle));
        }
        circles.into_iter().collect()
    }

    /// Names of types that several files define, and the files.
    pub(crate) fn types(&self) -> BTreeMap<String, Vec<String>> {
        let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (file, source) in &self.files {
            source.types.iter().for_each(|of| types.entry(of.clone()).or_default().push(name(file)));
        }
        types.retain(|_, files| files.len() > 1);
        types
    }

    /// The file that defines what a path in a file stands for; `None` outside the crate.
    fn find(&self, from: &Names, path: &Names) -> Option<Names> {
        let mut at = self.absolute(from, path)?;
        // A re-export of a re-export is followed too; no chain is longer.
        for _ in 0..8 {
            let length = (0..=at.len()).rev().find(|length| self.files.contains_key(&at[..*length]))?;
            let (file, rest) = (at[..length].to_vec(), &at[length..]);
            match rest.first().and_then(|first| self.files[&file].reexports.get(first)) {
                Some(to) => at = self.absolute(&file, to)?.into_iter().chain(rest[1..].iter().cloned()).collect(),
                None => return Some(file),
            }
        }
        None
    }

    /// A path from the root of the crate.
    fn absolute(&self, from: &Names, path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let join = |start: &[String], rest: &[String]| [start, rest].concat();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => self.absolute(from, rest).or_else(|| Some(join(from, rest))),
            "super" => {
                let mut above = from.clone();
                above.pop()?;
                let rest = &path[1..];
                if rest.first().is_some_and(|next| next == "super") { self.absolute(&above, rest) } else { Some(join(&above, rest)) }
            }
            _ => {
                let child = join(from, std::slice::from_ref(first));
                if self.files.contains_key(&child) {
                    return Some(join(&child, rest));
                }
                let import = self.files.get(from)?.imports.get(first)?;
                (import.first() != Some(first)).then(|| self.absolute(from, import)).flatten().map(|start| join(&start, rest))
            }
        }
    }
}

fn reach<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = edges.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(edges.get(file).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

impl Source {
    fn items(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !attributes(item).iter().any(for_tests)) {
            match item {
                Item::Use(used) => {
                    let handed_on = !matches!(used.vis, Visibility::Inherited);
                    self.tree(&used.tree, Names::new(), handed_on);
                }
                Item::Mod(inline) => {
                    if let Some((_, items)) = &inline.content {
                        self.items(items);
                    }
                }
                other => {
                    match other {
                        Item::Struct(one) => self.types.insert(one.ident.to_string()),
                        Item::Enum(one) => self.types.insert(one.ident.to_string()),
                        Item::Trait(one) => self.types.insert(one.ident.to_string()),
                        _ => false,
                    };
                    self.tokens(other.to_token_stream());
                }
            }
        }
    }

    fn tree(&mut self, tree: &UseTree, mut start: Names, handed_on: bool) {
        let mut put = |name: String, path: Names| {
            let place = if handed_on { &mut self.reexports } else { &mut self.imports };
            place.insert(name, path);
        };
        match tree {
            UseTree::Path(path) => {
                start.push(path.ident.to_string());
                self.tree(&path.tree, start, handed_on);
            }
            UseTree::Name(name) if name.ident == "self" => put(start.last().cloned().unwrap_or_default(), start),
            UseTree::Name(name) => put(name.ident.to_string(), [start, vec![name.ident.to_string()]].concat()),
            UseTree::Rename(rename) => put(rename.rename.to_string(), [start, vec![rename.ident.to_string()]].concat()),
            UseTree::Glob(_) => {
                self.paths.insert(start);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, start.clone(), handed_on)),
        }
    }

    /// All `a::b::c` of some tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.keep(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.keep(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.keep(&mut path);
                    colons = 0;
                }
            }
        }
        self.keep(&mut path);
    }

    fn keep(&mut self, path: &mut Names) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }
}

/// Files that are declared for tests only.
fn modules_for_tests(items: &[Item]) -> impl Iterator<Item = String> {
    items.iter().filter_map(|item| match item {
        Item::Mod(file) if file.content.is_none() && file.attrs.iter().any(for_tests) => Some(file.ident.to_string()),
        _ => None,
    })
}

fn for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.meta.to_token_stream().to_string().contains("test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `ws/frame.rs` → `ws`, `frame`; `ws/mod.rs` → `ws`; `lib.rs` → nothing.
fn module(path: &Path) -> Names {
    let mut names: Names = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") || matches!(names.as_slice(), [one] if one == "lib" || one == "main") {
        names.pop();
    }
    names
}

fn name(names: &Names) -> String {
    names.join("/")
}

#[test]
fn uses_are_found_wherever_they_stand_and_followed_to_where_a_name_is_defined() {
    let files = [
        ("lib.rs", "pub mod a; pub mod b; mod c; #[cfg(test)] mod d;"),
        ("d.rs", "use crate::b;"),
        ("a/mod.rs", "mod deep; pub use deep::Thing; #[cfg(test)] mod tests { use crate::c::Other; }"),
        ("a/deep.rs", "pub struct Thing; fn f() { let _ = format!(\"{}\", crate::b::number()); }"),
        ("b.rs", "use crate::a::{self, Thing as It}; pub struct Thing; fn g() -> a::Thing { other::<std::io::Error>() }"),
        ("c.rs", "// crate::a\nuse super::b; fn h() { b::number(); }"),
    ];
    let imports = Imports::read(files.iter().map(|(path, text)| (Path::new(path), (*text).to_owned())));
    let edges: Vec<String> = imports.edges().iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{from} > {to}"))).collect();
    assert_eq!(edges, ["a/deep > b", "b > a", "b > a/deep", "c > b"]);
    assert_eq!(imports.circles(), [BTreeSet::from(["a/deep".to_owned(), "b".to_owned()])]);
    assert_eq!(imports.types(), BTreeMap::from([("Thing".to_owned(), vec!["a/deep".to_owned(), "b".to_owned()])]));
}
