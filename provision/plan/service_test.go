package plan_test

import (
	"testing"

	"appliance/provision/plan"
)

// A service of two containers has the state of the worse one, and the address of one that
// runs.
func TestAServiceOfTwoContainersIsAsGoodAsTheWorse(t *testing.T) {
	good := plan.Service{Name: "bridge", ID: "good", State: "running", Health: "healthy", Address: "10.0.0.1"}
	bad := plan.Service{Name: "bridge", ID: "bad", State: "exited", Status: "Exited (1)"}
	for name, both := range map[string]plan.Service{"good first": good.Add(bad), "bad first": bad.Add(good)} {
		if both.OK() || both.ID != "bad" || both.Address != "10.0.0.1" || both.Status != "Exited (1)" {
			t.Errorf("%s: %+v", name, both)
		}
		if all := both.Containers(); len(all) != 2 || all[0].ID != "bad" || all[1].ID != "good" || len(all[0].Others) > 0 {
			t.Errorf("%s: containers %+v", name, all)
		}
	}
	third := good.Add(good).Add(bad)
	if len(third.Containers()) != 3 || third.OK() {
		t.Errorf("three: %+v", third.Containers())
	}
}
