// Package methods are the ways to make one judge of several members (a member alone,
// their weight average, their ensemble), applied to scores that are there already.
//
// Members are named by their places from 0. Every function but [Score] is pure.
package methods
