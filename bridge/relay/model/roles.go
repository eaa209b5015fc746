package model

// PowerOf is the power level of each role.
var PowerOf = map[Role]int{Member: 0, Moderator: 50, Owner: OwnerPower}

// RoleAt returns the role that a power level stands for.
func RoleAt(level int) Role {
	switch {
	case level >= PowerOf[Owner]:
		return Owner
	case level >= PowerOf[Moderator]:
		return Moderator
	}
	return Member
}

// RoleNames are Rocket.Chat's names of the roles in a room.
var RoleNames = map[Role]string{Owner: "owner", Moderator: "moderator"}
