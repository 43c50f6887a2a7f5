"""Archives from strangers: tar and zip, unpacked so that nothing lands outside the folder, replaces a file or fills the disk."""
