//! The tree of files that all web servers of a test serve.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::rng::Rng;

/// Size of `64m.bin` in bytes.
pub const BIG_BYTES: usize = 64 << 20;
/// Size in MiB of `16m.bin`, the big file of a guest, whose memory has no room for a larger one.
pub const GUEST_BIG_MEBIBYTES: usize = 16;
/// The seed of the tree that guests serve.
pub const GUEST_SEED: u64 = 1;
/// Number of things that `page/index.html` makes a browser load.
pub const PAGE_ASSETS: usize = 30;

/// What the CGI programs are; each is executable under `cgi-bin/`.
const CGI: &[(&str, &str)] = &[
    (
        "hello",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello %s\\n' \"$QUERY_STRING\"\n",
    ),
    // Reads all before it writes: a server may give a program its whole input first (CGI, RFC 3875 4.2).
    (
        "echo",
        "#!/bin/sh\nfile=$(mktemp)\ncat >\"$file\"\nprintf 'Content-Type: application/octet-stream\\r\\n\\r\\n'\ncat \"$file\"\nrm \"$file\"\n",
    ),
    (
        "sha256",
        "#!/bin/sh\nsum=$(sha256sum)\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' \"${sum%% *}\"\n",
    ),
    (
        "teapot",
        "#!/bin/sh\nprintf 'Status: 418 I am a teapot\\r\\nContent-Type: text/plain\\r\\n\\r\\nshort and stout\\n'\n",
    ),
    ("redirect", "#!/bin/sh\nprintf 'Status: 302 Found\\r\\nLocation: /index.html\\r\\n\\r\\n'\n"),
    (
        "method",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s %s\\n' \"$REQUEST_METHOD\" \"$QUERY_STRING\"\n",
    ),
    (
        "length",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\nContent-Length: 6\\r\\n\\r\\nlength'\n",
    ),
    (
        "cookie",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\nSet-Cookie: basket=7; Path=/\\r\\n\\r\\n%s\\n' \"$HTTP_COOKIE\"\n",
    ),
];

/// A document root on disk.
pub struct Site {
    /// The directory.
    pub root: PathBuf,
    /// Size of its biggest file, in MiB.
    pub big_mebibytes: usize,
}

impl Site {
    /// Writes the tree to `dir/site`. The same seed gives the same bytes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(dir: &Path, seed: u64) -> io::Result<Self> {
        Site::with_big(dir, seed, BIG_BYTES >> 20)
    }

    /// Writes the tree that guests of the seL4 board serve to `dir/site`: `16m.bin` in place of `64m.bin`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn of_guests(dir: &Path) -> io::Result<Self> {
        Site::with_big(dir, GUEST_SEED, GUEST_BIG_MEBIBYTES)
    }

    fn with_big(dir: &Path, seed: u64, big_mebibytes: usize) -> io::Result<Self> {
        let site = Site { root: dir.join("site"), big_mebibytes };
        fs::create_dir_all(&site.root)?;
        open_path_to_servers(dir)?;
        let mut rng = Rng::new(seed);
        site.put(
            "index.html",
            b"<!doctype html><title>RESH</title><p>It works, and a quorum says so.\n",
        )?;
        site.put("0.bin", b"")?;
        site.put("1.bin", b"x")?;
        site.put("1k.bin", &rng.bytes(1 << 10))?;
        let mebibyte = rng.bytes(1 << 20);
        site.put("1m.bin", &mebibyte)?;
        site.put("hello.txt", b"hello, quorum\n")?;
        site.put("a b.txt", b"a name with a space\n")?;
        site.put("caf\u{e9}.txt", "a name in UTF-8\n".as_bytes())?;
        site.put("style.css", b"body { color: #123456 }\n")?;
        site.put("data.json", b"{\"agreed\": true}\n")?;
        site.put("dir/index.html", b"<!doctype html><title>dir</title>\n")?;
        site.put("dir/leaf.txt", b"leaf\n")?;
        site.put("no-index/leaf.txt", b"leaf\n")?;
        site.put("forbidden.txt", b"nobody may read this\n")?;
        fs::set_permissions(site.root.join("forbidden.txt"), Permissions::from_mode(0o000))?;
        for (name, script) in CGI {
            let path = format!("cgi-bin/{name}");
            site.put(&path, script.as_bytes())?;
            fs::set_permissions(site.root.join(path), Permissions::from_mode(0o755))?;
        }
        site.put_page()?;
        site.put_big(&mebibyte, big_mebibytes)?;
        Ok(site)
    }

    /// The name of its biggest file.
    pub fn big_name(&self) -> String {
        format!("{}m.bin", self.big_mebibytes)
    }

    /// The bytes of one of its files.
    ///
    /// # Panics
    /// If there is no such file, which is a mistake in the test.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
        fs::write(path, bytes)
    }

    /// So many MiB, each the bytes of `1m.bin` with its own number in front, so that a lost or doubled piece
    /// is seen. A guest makes the same file at its boot (`xtask/src/guest/init/common.sh`).
    fn put_big(&self, mebibyte: &[u8], count: usize) -> io::Result<()> {
        let mut file =
            io::BufWriter::new(fs::File::create(self.root.join(format!("{count}m.bin")))?);
        for number in 0..count {
            let number = format!("{number:015}\n");
            file.write_all(number.as_bytes())?;
            file.write_all(&mebibyte[number.len()..])?;
        }
        file.flush()
    }

    /// A page that says in its own text how many of its assets arrived whole.
    fn put_page(&self) -> io::Result<()> {
        let mut head = String::new();
        let mut body = String::new();
        for n in 0..PAGE_ASSETS {
            match n % 3 {
                0 => {
                    let svg = format!(
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"9\"/>",
                        n + 1
                    );
                    self.put(&format!("page/{n}.svg"), svg.as_bytes())?;
                    body += &format!("<img id=\"i{n}\" src=\"{n}.svg\">\n");
                }
                1 => {
                    self.put(
                        &format!("page/{n}.js"),
                        format!("seen.push({n});{}\n", " ".repeat(n * 400)).as_bytes(),
                    )?;
                    body += &format!("<script src=\"{n}.js\"></script>\n");
                }
                _ => {
                    self.put(
                        &format!("page/{n}.css"),
                        format!("#c{n} {{ width: {}px }}\n", n + 1).as_bytes(),
                    )?;
                    head += &format!("<link rel=\"stylesheet\" href=\"{n}.css\">\n");
                    body += &format!("<div id=\"c{n}\"></div>\n");
                }
            }
        }
        let page = format!(
            "<!doctype html><meta charset=\"utf-8\"><title>assets</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<script>var seen = [];</script>\n{head}\
             <p id=\"result\">not yet</p>\n{body}<script>\n\
             window.onload = function () {{\n  var n = seen.length;\n\
             for (var i = 0; i < {PAGE_ASSETS}; i += 3)\n\
             \x20 if (document.getElementById('i' + i).naturalWidth == i + 1) n++;\n\
             for (var i = 2; i < {PAGE_ASSETS}; i += 3)\n\
             \x20 if (document.getElementById('c' + i).offsetWidth == i + 1) n++;\n\
             document.getElementById('result').textContent = n + ' assets whole';\n}};\n</script>\n"
        );
        self.put("page/index.html", page.as_bytes())
    }
}

/// Servers give up root's rights, so every directory down to the site must let others pass.
fn open_path_to_servers(dir: &Path) -> io::Result<()> {
    for dir in [dir, dir.parent().unwrap_or(dir)] {
        let mode = fs::metadata(dir)?.permissions().mode();
        if mode & 0o055 != 0o055 {
            fs::set_permissions(dir, Permissions::from_mode(mode | 0o055))?;
        }
    }
    Ok(())
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
