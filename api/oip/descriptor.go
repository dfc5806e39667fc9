package oip

// Descriptors are the serialized FileDescriptorProto of each .proto file here, by its name.
// internal/grpcapi/oip.binpb is made of them.
func Descriptors() map[string]string {
	return map[string]string{
		"inference.proto":    file_inference_proto_rawDesc,
		"model_config.proto": file_model_config_proto_rawDesc,
	}
}
