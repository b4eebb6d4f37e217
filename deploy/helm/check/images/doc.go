// Package images has no code: its tests read the Dockerfile by BuildKit's own parser, and run
// deploy/images/build.sh with a program in Docker's place.
package images
