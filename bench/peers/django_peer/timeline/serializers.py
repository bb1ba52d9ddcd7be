from rest_framework import serializers


class ActorSerializer(serializers.Serializer):
    type = serializers.CharField()
    id = serializers.CharField(required=False)
    name = serializers.CharField(required=False)


class SourceSerializer(serializers.Serializer):
    name = serializers.CharField()
    id = serializers.CharField(required=False)


class ObjectSerializer(serializers.Serializer):
    type = serializers.CharField(required=False)
    id = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    link = serializers.CharField(required=False)


class ActivitySerializer(serializers.Serializer):
    id = serializers.CharField(required=False, max_length=255)
    name = serializers.CharField(max_length=255)
    timestamp = serializers.DateTimeField(required=False)
    description = serializers.CharField(required=False, max_length=4096)
    link = serializers.CharField(required=False, max_length=2048)
    actor = ActorSerializer()
    source = SourceSerializer()
    object = ObjectSerializer(required=False)
    context = serializers.DictField(required=False)


class ContactSerializer(serializers.Serializer):
    email = serializers.EmailField()
    name = serializers.CharField(required=False, max_length=255)


class PublishSerializer(serializers.Serializer):
    activity = ActivitySerializer()
    contact = ContactSerializer()
