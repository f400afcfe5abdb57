//! The modules of a crate, and which of them names which, read from its source files.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Where a module is: the names on the way from the root of the crate, whose own path is empty.
pub type Path = Vec<String>;

/// The modules of one crate. What is compiled for tests alone is left out: a test may use what it wants.
#[derive(Default)]
pub struct Crate {
    modules: BTreeMap<Path, Module>,
}

#[derive(Default)]
struct Module {
    /// What `use` declarations bring in, by the name it has here. The paths are as written.
    imported: BTreeMap<String, Path>,
    /// Every path of two segments or more, as written.
    mentioned: Vec<Path>,
}

impl Crate {
    /// Reads a crate from its root, `lib.rs` or `main.rs`. `file` gives the text of a file by its path below `src/`, if there
    /// is one.
    pub fn read(root: &str, file: &dyn Fn(&str) -> Option<String>) -> Crate {
        let mut this = Crate::default();
        let text = file(root).unwrap_or_else(|| panic!("there is no {root}"));
        this.read_module(Vec::new(), tokens(root, &text), file);
        this
    }

    /// Every pair of modules of which the first names something of the second.
    pub fn imports(&self) -> impl Iterator<Item = (&Path, Path)> {
        self.modules.iter().flat_map(move |(from, module)| {
            let paths = module.imported.values().chain(&module.mentioned);
            paths.filter_map(move |path| Some((from, self.resolve(from, path, 0)?)))
        })
    }

    fn read_module(
        &mut self,
        path: Path,
        tokens: TokenStream,
        file: &dyn Fn(&str) -> Option<String>,
    ) {
        let mut module = Module::default();
        let mut children = Vec::new();
        read_tokens(tokens, &mut module, &mut children);
        self.modules.insert(path.clone(), module);
        for (name, body) in children {
            let child = [path.as_slice(), &[name]].concat();
            let body = body.unwrap_or_else(|| {
                let place = child.join("/");
                let names = [format!("{place}.rs"), format!("{place}/mod.rs")];
                let text = names.iter().find_map(|name| file(name));
                let text = text.unwrap_or_else(|| panic!("none of {names:?} is there"));
                self::tokens(&place, &text)
            });
            self.read_module(child, body, file);
        }
    }

    /// The module that has what `path` means where `from` says it. None for what is not of this crate.
    ///
    /// A name that a module has by `use`, such as what `lib.rs` makes public, leads to where it comes from.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Path> {
        assert!(depth < 20, "{path:?} in {from:?} leads back to itself");
        let mut at = from.to_vec();
        for (index, name) in path.iter().enumerate() {
            match name.as_str() {
                "crate" => at.clear(),
                "super" => drop(at.pop()),
                "self" => {}
                name => {
                    let child = [at.as_slice(), &[name.to_owned()]].concat();
                    if self.modules.contains_key(&child) {
                        at = child;
                    } else if let Some(target) = self.modules[&at].imported.get(name)
                        && target != path
                    {
                        match self.resolve(&at, target, depth + 1) {
                            Some(module) => at = module,
                            None => return (index > 0).then_some(at),
                        }
                    } else {
                        // An item of this module; or, as the first name, another crate.
                        return (index > 0).then_some(at);
                    }
                }
            }
        }
        Some(at)
    }
}

fn tokens(file: &str, text: &str) -> TokenStream {
    text.parse()
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Collects what a module mentions, and its children: their names, and their bodies where those are in the same file.
fn read_tokens(
    tokens: TokenStream,
    module: &mut Module,
    children: &mut Vec<(String, Option<TokenStream>)>,
) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(_) if is_test_attribute(&tokens, at) => {
                at += length_to_body(&tokens[at + 1..]);
            }
            TokenTree::Group(group) => read_tokens(group.stream(), module, children),
            TokenTree::Ident(word) if word == "mod" && at + 2 < tokens.len() => {
                let body = match &tokens[at + 2] {
                    TokenTree::Group(body) => Some(body.stream()),
                    _ => None,
                };
                children.push((tokens[at + 1].to_string(), body));
                at += 2;
            }
            TokenTree::Ident(word) if word == "use" => {
                let end = length_to_semicolon(&tokens[at + 1..]);
                read_use(&tokens[at + 1..at + 1 + end], &[], module);
                at += end;
            }
            TokenTree::Ident(_) => {
                let path = path_at(&tokens[at..]);
                at += 3 * (path.len() - 1);
                if path.len() > 1 {
                    module.mentioned.push(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The names from here on that `::` joins.
fn path_at(tokens: &[TokenTree]) -> Path {
    let mut path = vec![tokens[0].to_string()];
    let mut rest = &tokens[1..];
    while let [
        TokenTree::Punct(first),
        TokenTree::Punct(second),
        TokenTree::Ident(name),
        ..,
    ] = rest
        && first.as_char() == ':'
        && second.as_char() == ':'
    {
        path.push(name.to_string());
        rest = &rest[3..];
    }
    path
}

/// One tree of a `use` declaration, below `prefix`.
fn read_use(tree: &[TokenTree], prefix: &[String], module: &mut Module) {
    let mut path = prefix.to_vec();
    let mut alias = None;
    for (at, token) in tree.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                alias = Some(tree[at + 1].to_string());
                break;
            }
            TokenTree::Ident(name) if name == "self" && !path.is_empty() => {}
            TokenTree::Ident(name) => path.push(name.to_string()),
            TokenTree::Group(group) => {
                for part in parts(group) {
                    read_use(&part, &path, module);
                }
                return;
            }
            TokenTree::Punct(star) if star.as_char() == '*' => {
                module.mentioned.push(path);
                return;
            }
            _ => {}
        }
    }
    if let Some(name) = alias.or_else(|| path.last().cloned()) {
        // `as _` has no name, but is a mention.
        if name == "_" || module.imported.contains_key(&name) {
            module.mentioned.push(path);
        } else {
            module.imported.insert(name, path);
        }
    }
}

/// The trees between the commas.
fn parts(group: &Group) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<_> = group.stream().into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ',');
    let parts = tokens.split(is_comma).map(<[_]>::to_vec);
    parts.filter(|part| !part.is_empty()).collect()
}

/// Whether this is the bracket of an attribute that leaves the item out of everything but tests.
fn is_test_attribute(tokens: &[TokenTree], at: usize) -> bool {
    let TokenTree::Group(group) = &tokens[at] else {
        return false;
    };
    let is_hash = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == '#');
    let text = group.stream().to_string().replace(' ', "");
    group.delimiter() == Delimiter::Bracket
        && at > 0
        && is_hash(&tokens[at - 1])
        && (text == "test" || text == "cfg(test)" || text == "cfg(doctest)")
}

/// How many tokens an item has, with the braces of its body or, where it has none, its semicolon.
fn length_to_body(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    let last = tokens.iter().position(ends);
    last.map_or(tokens.len(), |last| last + 1)
}

/// How many tokens come before the semicolon, which is the end of a `use`: its braces are not.
fn length_to_semicolon(tokens: &[TokenTree]) -> usize {
    let last = tokens
        .iter()
        .position(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ';'));
    last.unwrap_or(tokens.len())
}
