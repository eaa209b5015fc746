package event

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// features maps each kind of event to the test that proves its row in the README's
// table of features.
var features = map[string]string{
	KindRCMessage:    "TestFeatureFormatting",
	KindRCEdit:       "TestFeatureEdits",
	KindRCDelete:     "TestFeatureDeletes",
	KindRCFiles:      "TestFeatureFilesThatAreLate",
	KindRCReact:      "TestFeatureReactions",
	KindRCPin:        "TestFeaturePins",
	KindRCSecret:     "TestFeatureEncryptedInRocketChat",
	KindRCMember:     "TestFeatureKicksAndBans",
	KindRCRoom:       "TestFeatureRoomNameAndTopic",
	KindRCPerson:     "TestFeatureNamesAndPictures",
	KindRCMembership: "TestFeatureReconcile",
	KindRCInvite:     "TestFeatureHistory",
	KindRCDirect:     "TestFeatureDirectRoomsOpenedInRocketChat",
	KindRCEcho:       "TestFeatureSecondCopies",
	KindMXMessage:    "TestFeatureFormatting",
	KindMXFile:       "TestFeatureFilesThatAreLate",
	KindMXReact:      "TestFeatureReactions",
	KindMXRedact:     "TestFeatureDeletes",
	KindMXCall:       "TestFeatureCallsOnMatrix",
	KindMXPoll:       "TestFeaturePolls",
	KindMXSecret:     "TestFeatureEncryptedRooms",
	KindMXMember:     "TestFeatureKicksAndBans",
	KindMXRoom:       "TestFeatureRoomNameAndTopic",
	KindMXPerson:     "TestFeatureNamesAndPictures",
	KindMXMembership: "TestFeatureRoomsFromMatrixAsTheyAre",
	KindMXInvite:     "TestADirectMessageFromMatrix",
	KindMXDecline:    "TestFeaturePermissions",
}

// Every kind of event has a row in the README that says what people get from it, and a test that proves it.
func TestEveryKindHasARowInTheTableOfFeatures(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\|.*`Test\\w+`.*\\|$").FindAllString(string(readme), -1)
	if len(rows) < 30 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	table := strings.Join(rows, "\n")
	for _, kind := range Kinds() {
		switch test, ok := features[kind]; {
		case !ok:
			t.Errorf("%s has no row in the table of features", kind)
		case !strings.Contains(table, "`"+test+"`"):
			t.Errorf("%s: no row in the table of features names %s", kind, test)
		}
	}
	for kind := range features {
		if _, known := forms[kind]; !known {
			t.Errorf("%s is no kind of event", kind)
		}
	}
}
