"""What is shipped of a release, and what anybody can check of it: manifest, attestations, verification, differences."""
