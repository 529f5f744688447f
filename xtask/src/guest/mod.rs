//! `cargo xtask guest`: kernels and initial RAM file systems of guests, made of Debian's packages.

mod apt;
mod cpio;
mod elf;
mod image;
mod kernel;
mod recipe;
mod tree;
mod trial;

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;
use resh_tests::harness::project_root;
use resh_tests::site::Site;
use rustix::fs::{FlockOperation, flock};

use crate::problems::Failure;
use apt::{Apt, Mirror};
use image::Image;
use recipe::{RECIPES, Recipe};
use tree::Tree;

/// Which guests to make, and of what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// nginx, lighttpd, apache2, busybox [default: the first three]
    #[arg(value_name = "GUEST")]
    names: Vec<String>,
    /// The document root [default: the site of the tests]
    #[arg(long, value_name = "DIRECTORY")]
    site: Option<PathBuf>,
    /// A Debian archive with arm64 [default: the sources of this computer's apt]
    #[arg(long, value_name = "URL", requires = "suite")]
    mirror: Option<String>,
    /// The release in that archive, such as bookworm
    #[arg(long, value_name = "NAME", requires = "mirror")]
    suite: Option<String>,
    /// Make them again, of the newest packages
    #[arg(long)]
    fresh: bool,
    /// Boot each in QEMU by itself, without seL4, and ask it for a page
    #[arg(long)]
    trial: bool,
    /// Where they go [default: target/guests]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

/// Makes guests, but for those that are there already.
///
/// # Errors
/// What is missing or went wrong. No half-made guest is left.
pub(crate) fn guest(options: &Options) -> Result<(), Failure> {
    let recipes = chosen(&options.names)?;
    let out = options.out.clone().unwrap_or_else(|| project_root().join("target").join("guests"));
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let _alone = alone(&out)?;
    let mirror = match (&options.mirror, &options.suite) {
        (Some(url), Some(suite)) => Some(Mirror { url: url.clone(), suite: suite.clone() }),
        _ => None,
    };
    let site = site(options.site.as_deref(), &out)?;
    let mut missing = Vec::new();
    for recipe in recipes {
        let inputs = image::inputs(recipe, &site, mirror.as_ref(), options.site.is_none());
        let there = Image::read(&out, recipe.name, &inputs).filter(|_| !options.fresh);
        match there {
            Some(image) => {
                println!("{}, as it was there", image.shown(&out));
                try_out(options, &image, &out)?;
            }
            None => missing.push((recipe, inputs)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let apt = Apt::new(&out, mirror.as_ref()).map_err(Failure::Missing)?;
    let mut is_updated = options.fresh || !apt.has_lists();
    if is_updated {
        apt.update().map_err(Failure::Missing)?;
    }
    for (recipe, inputs) in missing {
        let mut tree = image::packages(&apt, recipe);
        if tree.is_err() && !is_updated {
            // The archive drops packages that newer ones replace: with old lists, look again.
            apt.update().map_err(Failure::Missing)?;
            is_updated = true;
            tree = image::packages(&apt, recipe);
        }
        let packages = tree.map_err(Failure::Missing)?;
        let failed = |why: String| Failure::Failed(format!("{}: {why}", recipe.name));
        let image = Image::make(recipe, packages, &site, &inputs, options.site.is_none())
            .map_err(failed)?;
        image.write(&out).map_err(failed)?;
        println!("{}", image.shown(&out));
        try_out(options, &image, &out)?;
    }
    Ok(())
}

/// Waits until no other run works in this directory. None begins while the file is open.
fn alone(out: &Path) -> Result<File, Failure> {
    let path = out.join(".lock");
    let failed = |error: &dyn Display| format!("{}: {error}", path.display());
    let file = File::create(&path).map_err(|error| failed(&error))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        println!("waiting for another run in {}", out.display());
        flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(&error))?;
    }
    Ok(file)
}

fn try_out(options: &Options, image: &Image, out: &Path) -> Result<(), Failure> {
    if options.trial { trial::trial(&out.join(&image.name), &image.command_line) } else { Ok(()) }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Recipe>, Failure> {
    if names.is_empty() {
        return Ok(RECIPES.iter().take(3).collect());
    }
    let find = |name: &String| {
        RECIPES.iter().find(|recipe| recipe.name == name).ok_or_else(|| {
            let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
            Failure::Failed(format!("there is no guest {name:?}; there are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// The document root that all guests have alike.
fn site(given: Option<&Path>, out: &Path) -> Result<Tree, Failure> {
    let mut tree = Tree::default();
    if let Some(given) = given {
        tree.put_directory(recipe::SITE, given, &[])?;
        return Ok(tree);
    }
    // The big file is left out: a guest makes it when it starts.
    let dir = out.join("tests-site");
    let _ = fs::remove_dir_all(&dir);
    let made = fs::create_dir_all(&dir).and_then(|()| Site::of_guests(&dir));
    let site = made.map_err(|error| format!("{}: {error}", dir.display()))?;
    tree.put_directory(recipe::SITE, &site.root, &[&image::big_file()])?;
    Ok(tree)
}
