//! Circles among files: who imports whom, and the shortest way back.

use super::source::{Named, Source};
use std::collections::{BTreeMap, VecDeque};

/// For each file what it imports, and the line of the first import.
type Imports = BTreeMap<usize, usize>;

/// Who imports whom among these files.
pub struct Graph<'a> {
    sources: &'a [Source],
    imports: Vec<Imports>,
}

impl<'a> Graph<'a> {
    pub fn of(sources: &'a [Source]) -> Self {
        // nobody imports the program
        let library = (0..sources.len()).filter(|file| sources[*file].part != "main");
        let modules: Vec<_> = library.map(|file| (sources[file].module(), file)).collect();
        Graph { sources, imports: sources.iter().map(|source| imports(sources, &modules, source)).collect() }
    }

    /// Every circle of files, shortest first, as `file:line imports file:line imports file`; of those that share an
    /// import one is enough.
    pub fn circles(&self) -> Vec<String> {
        let mut imports = self.imports.clone();
        let mut found = Vec::new();
        let files = 0..self.sources.len();
        while let Some(circle) =
            files.clone().filter_map(|file| shortest(&imports, file)).min_by_key(Vec::len)
        {
            found.push(self.told(&circle));
            imports[circle[circle.len() - 1]].remove(&circle[0]);
        }
        found
    }

    fn told(&self, circle: &[usize]) -> String {
        let name = |file: usize| format!("src/{}", self.sources[file].path.display());
        let steps = circle.iter().zip(circle.iter().cycle().skip(1));
        let steps =
            steps.map(|(file, next)| format!("{}:{} imports ", name(*file), self.imports[*file][next]));
        steps.collect::<String>() + &name(circle[0])
    }
}

/// What a file imports, outside of its tests.
fn imports(sources: &[Source], modules: &[(Vec<String>, usize)], source: &Source) -> Imports {
    let mut imports = Imports::new();
    let own = source.module();
    for Named { line, path, in_tests } in source.names() {
        let path = match path[0].as_str() {
            _ if in_tests => continue,
            "crate" => path[1..].to_vec(),
            // a child, as its parent names it; one word alone declares it
            _ if path.len() > 1 => [&own[..], &path].concat(),
            _ => continue,
        };
        let fits = |module: &[String]| path.starts_with(module).then_some(module.len());
        let known = modules.iter().filter_map(|(module, file)| Some((fits(module)?, *file)));
        // what lies in no file but the root's is the root's, or of another library
        let seen = known.max().filter(|(depth, _)| *depth > 0).map(|(_, file)| file);
        if let Some(file) = seen.filter(|file| sources[*file].path != source.path) {
            imports.entry(file).or_insert(line);
        }
    }
    imports
}

/// The shortest circle through a file, beginning with it.
fn shortest(imports: &[Imports], start: usize) -> Option<Vec<usize>> {
    let mut from = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for &next in imports[file].keys() {
            if next == start {
                let mut circle = vec![file];
                while circle[circle.len() - 1] != start {
                    circle.push(from[&circle[circle.len() - 1]]);
                }
                circle.reverse();
                return Some(circle);
            }
            from.entry(next).or_insert_with(|| {
                queue.push_back(next);
                file
            });
        }
    }
    None
}
