package main

import (
	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/warm"
)

// aggregate makes the ensemble's reward of its members', and their spread.
func aggregate(members []float32, how string, lambda float64, calibrations []warm.Calibration) (reward, std float64, err error) {
	a, err := warm.ParseAggregate(how)
	if err != nil {
		return 0, 0, err
	}
	e := warm.Ensemble{Aggregate: a, Calibration: calibrations}
	if how == api.AggregateMeanMinusStd || how == api.AggregateMeanMinusVar {
		e.Lambda = lambda
	}
	return e.Reward(members)
}
