// Package soups measures which members to average, and what an ensemble can that an
// average cannot.
package soups
