"""What the site needs beyond its configuration."""

from mkdocs.structure.files import File, InclusionLevel


def on_files(files, config):
    """Adds the page about the second decoder, whose folder's index.html is the decoder itself."""
    page, written = "docs/decoder/README.md", "docs/decoder/about/index.html"
    folders = config.docs_dir, config.site_dir, config.use_directory_urls
    files.append(File(page, *folders, dest_uri=written, inclusion=InclusionLevel.INCLUDED))
    return files
