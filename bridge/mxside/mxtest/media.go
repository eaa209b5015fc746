package mxtest

// UploadLimit is the largest file that test homeservers accept, in bytes.
const UploadLimit = 4 << 20
