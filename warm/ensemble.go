package warm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Aggregate says how an ensemble makes one reward of its members' scores.
type Aggregate int

// The aggregates, with s̄ the mean, σ the population standard deviation of the members' scores, and λ ≥ 0.
const (
	Mean         Aggregate = iota // s̄
	Min                           // the smallest: worst-case optimisation
	Median                        // the middle one, or the mean of the two in the middle
	MeanMinusStd                  // s̄ − λσ
	MeanMinusVar                  // s̄ − λσ²: uncertainty-weighted optimisation
)

// aggregateNames are the names on the wire, by aggregate.
var aggregateNames = []string{"mean", "min", "median", "mean_minus_std", "mean_minus_var"}

// Errors of ensembles.
var (
	// ErrAggregate is returned for an unknown name of an aggregate.
	ErrAggregate = errors.New("aggregate")
	// ErrLambda is returned when λ is negative or not finite, or is given where it has no effect.
	ErrLambda = errors.New("lambda")
	// ErrCalibration is returned for a calibration that is not finite, has no spread, or does not
	// fit the members.
	ErrCalibration = errors.New("calibration")
	// ErrScores is returned for a number of scores that the ensemble cannot have.
	ErrScores = errors.New("scores")
)

// ParseAggregate returns the aggregate of a name on the wire.
func ParseAggregate(s string) (Aggregate, error) {
	if i := slices.Index(aggregateNames, s); i >= 0 {
		return Aggregate(i), nil
	}
	return 0, fmt.Errorf("%w %q, want one of %s", ErrAggregate, s, strings.Join(aggregateNames, ", "))
}

func (a Aggregate) valid() bool { return a >= 0 && int(a) < len(aggregateNames) }

// String returns the name on the wire.
func (a Aggregate) String() string {
	if !a.valid() {
		return fmt.Sprintf("Aggregate(%d)", int(a))
	}
	return aggregateNames[a]
}

// Calibration is the mean and the standard deviation of one member's rewards on reference data. Scores of
// members trained apart have different scales, and their shift is arbitrary under a Bradley-Terry loss.
type Calibration struct {
	Mean float64
	Std  float64 // positive
}

// NonFiniteError says that a member's score is NaN or infinite.
type NonFiniteError struct {
	Member int // index
	Score  float64
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("score of member %d is %v", e.Member, e.Score)
}

// Ensemble aggregates the scores of members that are kept apart.
type Ensemble struct {
	Aggregate   Aggregate
	Lambda      float64       // λ of MeanMinusStd and MeanMinusVar; 0 there is the mean; 0 for the others
	Calibration []Calibration // z-scores each member first; one for each member, or nil for raw scores
}

// ParseEnsemble returns the ensemble of an aggregate's name on the wire. Lambda
// is left out where the aggregate has none.
func ParseEnsemble(how string, lambda float64) (Ensemble, error) {
	a, err := ParseAggregate(how)
	if err != nil {
		return Ensemble{}, err
	}
	e := Ensemble{Aggregate: a}
	if a == MeanMinusStd || a == MeanMinusVar {
		e.Lambda = lambda
	}
	return e, nil
}

// Validate reports every problem of the configuration for a number of members.
func (e Ensemble) Validate(members int) error {
	var errs []error
	if members < 1 {
		errs = append(errs, fmt.Errorf("%w: %d members", ErrScores, members))
	}
	if !e.Aggregate.valid() {
		errs = append(errs, fmt.Errorf("%w %d", ErrAggregate, int(e.Aggregate)))
	}
	if !(e.Lambda >= 0) || math.IsInf(e.Lambda, 0) {
		errs = append(errs, fmt.Errorf("%w is %v, want a finite number that is not negative",
			ErrLambda, e.Lambda))
	} else if e.Lambda != 0 && e.Aggregate != MeanMinusStd && e.Aggregate != MeanMinusVar {
		errs = append(errs, fmt.Errorf("%w is %v, but %s has none", ErrLambda, e.Lambda, e.Aggregate))
	}
	if e.Calibration != nil && len(e.Calibration) != members {
		errs = append(errs, fmt.Errorf("%w: %d for %d members", ErrCalibration, len(e.Calibration), members))
	}
	for i, c := range e.Calibration {
		if math.IsNaN(c.Mean) || math.IsInf(c.Mean, 0) || !(c.Std > 0) || math.IsInf(c.Std, 0) {
			errs = append(errs, fmt.Errorf("%w of member %d: mean %v, std %v", ErrCalibration, i,
				c.Mean, c.Std))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("ensemble: %w", errors.Join(errs...))
}

// stackScores is how many scores are sorted without an allocation.
const stackScores = 64

// Reward aggregates one score of each member, in the order of the calibration. It returns the
// reward and the population standard deviation (divisor M, not M−1) of the scores that were
// aggregated, that is of z-scores when there is a calibration. Everything is computed in float64
// from the sorted scores, so that the order of the members changes nothing, to the bit. A score
// that is NaN or infinite is a [NonFiniteError].
func (e Ensemble) Reward(scores []float32) (reward, std float64, err error) {
	if len(scores) == 0 || e.Calibration != nil && len(e.Calibration) != len(scores) {
		return 0, 0, fmt.Errorf("ensemble: %w: %d, with %d calibrations", ErrScores, len(scores),
			len(e.Calibration))
	}
	var stack [stackScores]float64
	sorted := stack[:0]
	for i, s := range scores {
		v := float64(s)
		if e.Calibration != nil {
			v = (v - e.Calibration[i].Mean) / e.Calibration[i].Std
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, 0, &NonFiniteError{Member: i, Score: v}
		}
		sorted = append(sorted, v)
	}
	slices.Sort(sorted)
	n := float64(len(sorted))
	sum := 0.0
	for _, v := range sorted {
		sum += v
	}
	mean := sum / n
	squares := 0.0
	for _, v := range sorted {
		squares += float64((v - mean) * (v - mean))
	}
	variance := squares / n
	std = math.Sqrt(variance)
	switch e.Aggregate {
	case Mean:
		reward = mean
	case Min:
		reward = sorted[0]
	case Median:
		half := len(sorted) / 2
		reward = sorted[half]
		if len(sorted)%2 == 0 {
			reward = (sorted[half-1] + sorted[half]) / 2
		}
	case MeanMinusStd:
		reward = mean - float64(e.Lambda*std)
	case MeanMinusVar:
		reward = mean - float64(e.Lambda*variance)
	default:
		return 0, 0, fmt.Errorf("ensemble: %w %d", ErrAggregate, int(e.Aggregate))
	}
	return reward, std, nil
}

// Calibrate returns the mean and population standard deviation of one member's rewards on reference data.
func Calibrate(rewards []float32) (Calibration, error) {
	if len(rewards) < 2 {
		return Calibration{}, fmt.Errorf("%w needs two rewards, got %d", ErrCalibration, len(rewards))
	}
	sum := 0.0
	for i, r := range rewards {
		if v := float64(r); math.IsNaN(v) || math.IsInf(v, 0) {
			return Calibration{}, fmt.Errorf("%w: reward %d is %v", ErrCalibration, i, r)
		}
		sum += float64(r)
	}
	c := Calibration{Mean: sum / float64(len(rewards))}
	squares := 0.0
	for _, r := range rewards {
		d := float64(r) - c.Mean
		squares += float64(d * d)
	}
	c.Std = math.Sqrt(squares / float64(len(rewards)))
	if c.Std == 0 {
		return Calibration{}, fmt.Errorf("%w: all %d rewards are %v", ErrCalibration, len(rewards),
			rewards[0])
	}
	return c, nil
}
