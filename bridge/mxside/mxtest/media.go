package mxtest

// UploadLimit is how many bytes of a file the homeservers of tests take.
const UploadLimit = 4 << 20
