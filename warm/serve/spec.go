package serve

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/backend"
	"github.com/warmserve/warmserve/warm/reward"
)

// Check reports all that is wrong with the models of a configuration, by name,
// as far as that can be known without opening a file. e is what they are for, nil
// where that is not known.
func Check(models map[string]*api.ModelSpec, e model.Engine) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(models)) {
		if err := api.CheckModelName(name); err != nil {
			errs = append(errs, fmt.Errorf("models: %q: %s", name, err.Message))
		}
		if _, err := RewardConfig(models[name], e); err != nil {
			errs = append(errs, fmt.Errorf("models.%s: %w", name, err))
		}
	}
	return errors.Join(slices.Concat(errs, checkAliases(models), checkBackends(models))...)
}

// checkAliases finds the names that would mean several models.
func checkAliases(models map[string]*api.ModelSpec) (errs []error) {
	names := slices.Sorted(maps.Keys(models))
	owner := map[string]string{}
	for _, name := range names {
		owner[name] = name
	}
	for _, name := range names {
		if models[name] == nil {
			continue
		}
		for _, alias := range models[name].Aliases {
			if other, taken := owner[alias]; taken && other != name {
				errs = append(errs, fmt.Errorf("models.%s: the alias %q is a name of the model %q, too", name, alias, other))
			}
			owner[alias] = name
		}
	}
	return errs
}

// RewardConfig returns what is loaded for a model on the device of an engine, nil for
// one that is not known yet. Its error says all that is wrong with spec, as far as that
// can be known without opening a file.
func RewardConfig(spec *api.ModelSpec, e model.Engine) (reward.Config, error) {
	c := reward.Config{
		Engine: e,
		Mode:   reward.Mode(spec.Mode), Base: spec.Base, Alpha: spec.Alpha, Extrapolate: spec.Extrapolate,
		Ignore: spec.Ignore, MaxTokens: spec.MaxTokens, DoubleBOS: spec.DoubleBOS, Head: spec.Head,
		Output: spec.Output,
	}
	var errs []error
	err := spec.Validate()
	if e, ok := errors.AsType[*api.Error](err); ok {
		err = fmt.Errorf("%s: %s", e.Param, e.Message) // whoever reads it has no use for the wire's code
	}
	errs = append(errs, err)
	if spec.Backend != nil && err == nil {
		kind, url := spec.Backend.Engine()
		e = backend.New(backend.Options{Kind: backend.Kind(kind), URL: url})
	}
	if e != nil {
		c.DType, err = model.ChooseDType(e, spec.DType)
		errs = append(errs, err)
	} else if spec.DType != "" {
		c.DType, err = kernel.ParseDType(spec.DType)
		errs = append(errs, err)
	}
	if spec.Pooling != "" {
		c.Pooling, err = model.ParsePooling(spec.Pooling)
		errs = append(errs, err)
	}
	if spec.Ending != "" {
		c.Ending, err = model.ParseEnding(spec.Ending)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	for i, x := range spec.Members {
		m := reward.Member{Name: x.Name, Dir: x.Path, Weight: x.Weight}
		if spec.Weights != nil {
			m.Weight = spec.Weights[i]
		}
		if x.Mean != nil {
			m.Calibration = &warm.Calibration{Mean: *x.Mean, Std: *x.Std}
		}
		c.Members = append(c.Members, m)
	}
	return c, nil
}
