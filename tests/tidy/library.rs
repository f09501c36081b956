//! What a user of the library gets: the public API, held by a committed listing, and a tree of dependencies without those of the program.

use crate::{ROOT, read, rust_files};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Attribute, Fields, File, ImplItem, Item, UseTree, Visibility};

/// Where the listing is.
const LISTING: &str = "tests/tidy/api.txt";
/// What only the program needs.
const PROGRAM_ONLY: [&str; 9] =
    ["anyhow", "clap", "clap_complete", "clap_mangen", "crossterm", "indicatif", "plotters", "ratatui", "terminal_size"];

/// Begins the lines of types that have no name in `api`.
const UNNAMED: &str = "(not exported) ";

/// A path from the root of the crate: `["report", "page"]`.
type Names = Vec<String>;

#[test]
fn the_library_alone_depends_on_nothing_of_the_program() {
    let tree = |more: &[&str]| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.current_dir(ROOT).args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"]).args(more);
        let listed = cargo.output().expect("cargo");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let text = String::from_utf8(listed.stdout).expect("names are UTF-8");
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (library, program) = (tree(&["--no-default-features"]), tree(&[]));
    let found: Vec<_> = PROGRAM_ONLY.into_iter().filter(|name| library.contains(*name)).collect();
    assert!(found.is_empty(), "the library depends on {found:?}");
    let missing: Vec<_> = PROGRAM_ONLY.into_iter().filter(|name| !program.contains(*name)).collect();
    assert!(missing.is_empty(), "not even the program depends on {missing:?}: the list is out of date");
}

/// A change of the listing is a change of the interface, and a removal needs a new major version.
#[test]
fn the_public_api_is_as_it_is_listed() {
    let now = Crate::read().listing();
    let path = Path::new(ROOT).join(LISTING);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &now).expect("the listing can be written");
    }
    let listed = read(&path);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (before, after) = (lines(&listed), lines(&now));
    let gone: Vec<_> = before.difference(&after).collect();
    let new: Vec<_> = after.difference(&before).collect();
    let how = "UPDATE=1 cargo test --test tidy public_api writes it";
    assert!(listed == now, "the public API is not as {LISTING} says; {how}\ngone: {gone:#?}\nnew: {new:#?}");
}

/// The sources by module.
struct Crate(BTreeMap<Names, File>);

impl Crate {
    fn read() -> Crate {
        let src = Path::new(ROOT).join("src");
        let module = |path: &PathBuf| {
            let below = path.strip_prefix(&src).expect("a file of src").with_extension("");
            let names = below.iter().map(|part| part.to_string_lossy().into_owned());
            names.filter(|name| name != "mod").collect::<Names>()
        };
        let parsed = |path: PathBuf| (module(&path), syn::parse_file(&read(&path)).expect("it compiles"));
        Crate(rust_files(&src).into_iter().map(parsed).collect())
    }

    /// All that a user of `api` can name, and the types that they get without a name for them.
    fn listing(&self) -> String {
        let mut exported = BTreeMap::new();
        self.exports(&["api".to_owned()], "api", &mut exported);
        assert!(exported.len() > 30, "the exports were found: {exported:?}");
        let mut lines = BTreeSet::new();
        let mut reached = BTreeSet::new();
        for (path, (module, name)) in &exported {
            self.describe(module, name, path, &mut lines, &mut reached);
        }
        // A field or an argument may be of a type that is not exported: its fields can be used all the same. Its methods are not promised.
        let mut known: BTreeSet<String> = exported.values().map(|(_, name)| name.clone()).collect();
        while let Some(name) = reached.iter().find(|name| !known.contains(*name)).cloned() {
            known.insert(name.clone());
            if let Some(module) = self.home_of(&name) {
                self.describe(&module, &name, &format!("{UNNAMED}{name}"), &mut lines, &mut reached);
            }
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// What a module exports: the path of each item in `api`, and where it is defined under which name.
    fn exports(&self, module: &[String], shown: &str, exported: &mut BTreeMap<String, (Names, String)>) {
        for item in &self.0[module].items {
            match item {
                Item::Use(of) if matches!(of.vis, Visibility::Public(_)) => {
                    for (name, path) in flat(&of.tree) {
                        let path = self.resolved(module, &path);
                        if self.0.contains_key(&path) {
                            self.exports(&path, &format!("{shown}::{name}"), exported);
                        } else if let Some((last, module)) = path.split_last() {
                            exported.insert(format!("{shown}::{name}"), (module.to_vec(), last.clone()));
                        }
                    }
                }
                item => {
                    if let Some((name, Visibility::Public(_))) = named(item) {
                        exported.insert(format!("{shown}::{name}"), (module.to_vec(), name));
                    }
                }
            }
        }
    }

    /// The module or item that a path of a `use` in a module stands for; re-exports are followed.
    fn resolved(&self, from: &[String], path: &[String]) -> Names {
        let mut at = match path[0].as_str() {
            "crate" => path[1..].to_vec(),
            "super" => [&from[..from.len() - 1], &path[1..]].concat(),
            _ => [from, path].concat(),
        };
        loop {
            let Some((last, module)) = at.split_last().filter(|_| !self.0.contains_key(&at)) else { return at };
            let file = self.0.get(module).unwrap_or_else(|| panic!("no module {module:?} for {last}"));
            if file.items.iter().any(|item| named(item).is_some_and(|(name, _)| name == *last)) {
                return at;
            }
            let uses = file.items.iter().filter_map(|item| if let Item::Use(of) = item { Some(flat(&of.tree)) } else { None });
            let found = uses.flatten().find(|(name, _)| name == last);
            let (_, path) = found.unwrap_or_else(|| panic!("{last} is not in {module:?}"));
            at = self.resolved(module, &path);
        }
    }

    /// Which module defines a type: names of types are unique, and a test holds that.
    fn home_of(&self, name: &str) -> Option<Names> {
        let defines = |file: &File| file.items.iter().any(|item| is_type(item) && named(item).is_some_and(|(of, _)| of == name));
        self.0.iter().find(|(_, file)| defines(file)).map(|(module, _)| module.clone())
    }

    /// The lines of one item and of what is implemented for it, and the types that they name.
    fn describe(&self, module: &[String], name: &str, shown: &str, lines: &mut BTreeSet<String>, reached: &mut BTreeSet<String>) {
        let items = &self.0[module].items;
        let item = items.iter().find(|item| named(item).is_some_and(|(of, _)| of == *name)).expect("it was found");
        let mut tell = |line: String, types: &dyn ToTokens| {
            lines.insert(format!("{shown}: {line}"));
            names(types.to_token_stream(), reached);
        };
        let none = TokenStream::new();
        let open =
            |attributes: &[Attribute]| if shown_attributes(attributes).contains("non_exhaustive") { " (non_exhaustive)" } else { "" };
        match item {
            Item::Struct(of) => {
                tell(format!("struct{}{}", words(&of.generics), open(&of.attrs)), &none);
                for field in of.fields.iter().filter(|field| matches!(field.vis, Visibility::Public(_))) {
                    let name = field.ident.as_ref().map_or("tuple".to_owned(), ToString::to_string);
                    tell(format!("field {name}: {}", words(&field.ty)), &field.ty);
                }
                derived(&of.attrs).for_each(|of| tell(format!("derives {of}"), &none));
            }
            Item::Enum(of) => {
                tell(format!("enum{}{}", words(&of.generics), open(&of.attrs)), &none);
                for variant in &of.variants {
                    let fields = if matches!(variant.fields, Fields::Unit) { String::new() } else { format!(" {}", bare(&variant.fields)) };
                    tell(format!("variant {}{fields}", variant.ident), &variant.fields);
                }
                derived(&of.attrs).for_each(|of| tell(format!("derives {of}"), &none));
            }
            Item::Const(of) => tell(format!("const: {}", words(&of.ty)), &of.ty),
            Item::Fn(of) => tell(words(&of.sig), &of.sig),
            other => tell(words(other), other),
        }
        let impls = self.0.values().flat_map(|file| &file.items).filter_map(|item| if let Item::Impl(of) = item { Some(of) } else { None });
        for of in impls.filter(|of| is_type(item) && !shown.starts_with(UNNAMED) && last_name(&of.self_ty).is_some_and(|of| of == *name)) {
            if let Some((_, of_trait, _)) = &of.trait_ {
                tell(format!("implements {}", words(of_trait)), &none);
                continue;
            }
            for item in &of.items {
                if let ImplItem::Fn(of) = item
                    && matches!(of.vis, Visibility::Public(_))
                {
                    let feature = if shown_attributes(&of.attrs).contains("feature") { "(by feature) " } else { "" };
                    tell(format!("{feature}{}", words(&of.sig)), &of.sig);
                }
            }
        }
    }
}

/// All names in a piece of syntax, those of types among them.
fn names(of: TokenStream, found: &mut BTreeSet<String>) {
    for token in of {
        match token {
            TokenTree::Ident(name) => drop(found.insert(name.to_string())),
            TokenTree::Group(group) => names(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Names and paths of a tree of `use`.
fn flat(tree: &UseTree) -> Vec<(String, Names)> {
    match tree {
        UseTree::Path(path) => {
            let below = flat(&path.tree).into_iter();
            let start = path.ident.to_string();
            below
                .map(|(name, rest)| {
                    let name = if name == "self" { start.clone() } else { name };
                    (name, if rest == ["self"] { vec![start.clone()] } else { [vec![start.clone()], rest].concat() })
                })
                .collect()
        }
        UseTree::Name(name) => vec![(name.ident.to_string(), vec![name.ident.to_string()])],
        UseTree::Rename(name) => vec![(name.rename.to_string(), vec![name.ident.to_string()])],
        UseTree::Group(group) => group.items.iter().flat_map(flat).collect(),
        UseTree::Glob(_) => panic!("nothing public is exported by a glob"),
    }
}

fn named(item: &Item) -> Option<(String, &Visibility)> {
    let (ident, vis) = match item {
        Item::Struct(of) => (&of.ident, &of.vis),
        Item::Enum(of) => (&of.ident, &of.vis),
        Item::Type(of) => (&of.ident, &of.vis),
        Item::Trait(of) => (&of.ident, &of.vis),
        Item::Const(of) => (&of.ident, &of.vis),
        Item::Static(of) => (&of.ident, &of.vis),
        Item::Fn(of) => (&of.sig.ident, &of.vis),
        _ => return None,
    };
    Some((ident.to_string(), vis))
}

fn is_type(item: &Item) -> bool {
    matches!(item, Item::Struct(_) | Item::Enum(_) | Item::Type(_))
}

fn last_name(of: &syn::Type) -> Option<String> {
    if let syn::Type::Path(path) = of { path.path.segments.last().map(|last| last.ident.to_string()) } else { None }
}

fn derived(attributes: &[Attribute]) -> impl Iterator<Item = String> {
    let lists = attributes.iter().filter(|one| one.path().is_ident("derive")).filter_map(|one| one.meta.require_list().ok());
    let lists = lists.map(|list| words(&list.tokens)).collect::<Vec<_>>();
    lists.join(",").split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect::<Vec<_>>().into_iter()
}

fn shown_attributes(attributes: &[Attribute]) -> String {
    attributes.iter().filter(|one| !one.path().is_ident("doc")).map(words).collect()
}

/// Fields without what is written about them.
fn bare(fields: &Fields) -> String {
    let mut fields = fields.clone();
    fields.iter_mut().for_each(|field| field.attrs.clear());
    words(&fields)
}

/// As it is written, but for spaces.
fn words(of: impl ToTokens) -> String {
    let mut text = of.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        ("< ", "<"),
        (" ,", ","),
        ("& ", "&"),
        (" (", "("),
        (" :", ":"),
        (" ?", "?"),
        (" !", "!"),
    ] {
        text = text.replace(from, to);
    }
    text
}
